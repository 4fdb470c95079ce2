"""Names in a Hub repository, as timm and huggingface_hub have them. Standard library only."""

CONFIG = "config.json"  # timm's, with DESCRIPTION as one more key, which timm ignores
MODEL = "model.safetensors"
CARD = "README.md"
DESCRIPTION = "patch_scaling"  # the key of what describes the model to scaling.load
