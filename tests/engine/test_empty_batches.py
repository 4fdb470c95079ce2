"""Of several devices one may be dealt a batch of no images: it is a batch all the same."""

from scaling.data.datamodule import ImageDataModule


def test_a_batch_of_no_images_is_served_from_memory(tiny):
    data = ImageDataModule(tiny)
    data.setup()
    for images in (data.train_set, data.test_set):
        batch = images.get_batch([])
        assert (batch.pixels.shape, batch.targets.label_B.shape) == ((0, 3, 16, 16), (0,))
