"""The model card of a Hub repository: what the model is, its results, its law, how it is loaded, its recipe."""

from huggingface_hub import EvalResult, ModelCardData

from scaling.config.task import base_kind
from scaling.inference.trained import Trained
from scaling.preprocessing import preprocessing_of
from scaling.runs.evaluations import Evaluation
from scaling.runs.record import HEADLINES, RunRecord

PIPELINES = {"classify": "image-classification", "segment": "image-segmentation", "detect": "object-detection"}
TASKS = {"classify": "classification", "segment": "semantic segmentation", "detect": "instance segmentation"}


def model_card(trained: Trained, record: RunRecord, repository: str, law: str, recipe: str, timm: str) -> str:
    """README.md of a repository OWNER/NAME. law: sentences on the law of the run's group; recipe: the configuration of
    the run as YAML; timm: why timm cannot load the model, "" where it can."""
    config, pixels = trained.config, preprocessing_of(trained.config)
    model, found = config.model, _evaluation(trained, record)
    patches = f"patches of {model.patch_size} px" + (" or of other sizes that divide it" if model.any_patch else "")
    task = TASKS.get(base_kind(config.task), config.task.kind)
    sections = [
        f"---\n{_front_matter(trained, found, repository, timm).to_yaml()}\n---",
        f"# {repository}",
        f"{model.backbone} for {task} ({config.data.num_classes} classes) on {config.data.dataset}: images of "
        f"{model.img_size} px in {patches}. Trained by the run `{record.run_id}` of patch-scaling, a harness for "
        "scaling laws of the patch size.",
        "## Results on the test images",
        _results(trained, record, found),
        "## Law",
        law,
        "## Use",
        _use(repository, timm, model.family == "adventurer"),
        f"Pixels: RGB in [0, 1], minus {list(pixels.mean)}, divided by {list(pixels.std)}. The modules of "
        "`scaling.load` take uint8 images and normalise them.",
        "## Recipe",
        "`python experiments/run.py shapes.deit_nano --config config.yaml` trains the model again, with this file, "
        "which replaces every field of that recipe (`--data-root DIR` where the images are files):",
        f"```yaml\n{recipe}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _evaluation(trained: Trained, record: RunRecord) -> Evaluation | None:
    """That of the model's patch and image size, by its reported weights."""
    config = trained.config
    at = (config.model.patch_size, config.model.img_size, record.experiment().evaluation.eval_weights)
    rows = [row for row in record.evaluations if (row["patch_size"], row["img_size"], row["weights"]) == at]
    return rows[0] if rows else None


def _front_matter(trained: Trained, found: Evaluation | None, repository: str, timm: str) -> ModelCardData:
    config, results = trained.config, []
    pipeline = PIPELINES.get(base_kind(config.task))  # of an own task: that of the task which it extends
    if found is not None:
        name, shown = HEADLINES[config.task.kind]
        metrics = {"test_loss": found["test_loss"], name: found["metrics"].get(name)}
        results = [
            EvalResult(
                task_type=pipeline or config.task.kind,
                dataset_type=config.data.dataset,
                dataset_name=config.data.dataset,
                metric_type=key,
                metric_name={name: f"{shown} [%]"}.get(key, "test loss [nats]"),
                metric_value=value,
            )
            for key, value in metrics.items()
            if value is not None
        ]
    return ModelCardData(
        library_name="patch-scaling" if timm else "timm",
        pipeline_tag=pipeline,
        tags=["patch-scaling", config.model.backbone],
        model_name=repository.split("/")[-1],
        eval_results=results or None,
    )


def _results(trained: Trained, record: RunRecord, found: Evaluation | None) -> str:
    """A table in Markdown."""
    name, shown = HEADLINES[trained.config.task.kind]
    rows = [("patch [px]", str(trained.config.model.patch_size))]
    if found is None:
        rows.append(("test loss [nats]", "not evaluated at this patch size"))
    else:
        rows.append(("test loss [nats]", f"{found['test_loss']:.4f}"))
        if name in found["metrics"]:
            rows.append((f"{shown} [%]", f"{found['metrics'][name]:.2f}"))
    parameters = sum(p.numel() for p in trained.module.parameters())
    rows.append(("parameters", f"{parameters:,}"))
    if trained.config.model.patch_size == record.experiment().model.patch_size:
        rows.append(("FLOPs per image, forward, 2 per multiply-add", f"{record.flops_per_image:,.0f}"))
    return "\n".join(["| quantity | value |", "| --- | ---: |", *(f"| {key} | {value} |" for key, value in rows)])


def _use(repository: str, timm: str, registered: bool) -> str:
    """Code that loads the model. registered: whether timm has it by the import of timm_entrypoints alone."""
    loaded = f'import scaling\n\ntrained = scaling.load("hf:{repository}")'
    ours = f'{loaded}\nfound = trained.module(trained.image("cat.jpg"))'
    if timm:
        return f"```python\n{ours}\n```\n\nOther programs cannot load it: {timm}."
    imported = "import timm, scaling.backbones.timm_entrypoints" if registered else "import timm"
    theirs = f'{imported}\n\nmodel = timm.create_model("hf-hub:{repository}", pretrained=True).eval()'
    return f"```python\n{ours}\n```\n\n```python\n{theirs}\n```"
