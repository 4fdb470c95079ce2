"""Of several devices one may be dealt a batch of no images: it is a batch all the same."""

from scaling.data.datamodule import ImageDataModule


def test_a_batch_of_no_images_is_served_from_memory(tiny):
    data = ImageDataModule(tiny)
    data.prepare()
    for images in (data.train_set, data.test_set):
        batch = images.__getitems__([])
        assert (batch.image_BCHW.shape, batch.label_B.shape) == ((0, 3, 16, 16), (0,))
