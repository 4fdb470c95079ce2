"""Cascade Mask R-CNN: it is mmdet's, agrees with torchvision's parts and a slow reference, at every patch alike."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.detection import _utils
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import batched_nms, box_iou, roi_align

from scaling.backbones.base import Features, TokenLayout
from scaling.data.generated import generated_shapes
from scaling.heads.cascade_config import IOUS, STDS, WEIGHTS, roi_settings, rpn_settings, training_proposals
from scaling.heads.cascade_mask_rcnn import Instances, Neck, Sample, build_head
from scaling.heads.instance_masks import Masks
from scaling.heads.openmmlab import ready
from scaling.model_specs import FPN_STRIDES

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
WIDTH, CLASSES, CHANNELS, ROIS = 24, 12, 16, 24
NAMES = {"rpn_cls", "rpn_box", *(f"{kind}_{stage}" for kind in ("cls", "box", "mask") for stage in range(3))}


def head(patch=8, seed=0, classes=CLASSES, channels=CHANNELS, rois=ROIS):
    return build_head(WIDTH, patch, classes, channels, seed, rois)


def features(patch, size=(64, 64), batch=2, seed=0):
    """What a backbone would give, as a strided view of its tokens."""
    g, (h, w) = torch.Generator().manual_seed(seed), (side // patch for side in size)
    tokens_BLD = torch.randn(batch, h * w, WIDTH, generator=g)
    return Features(tokens_BLD, torch.zeros(batch, WIDTH), TokenLayout(patch, torch.device("cpu"), (h, w)))


@torch.no_grad()
def decided(model):
    """The same head, as after some training: scores that differ by more than rounding does, so that no choice between
    boxes hangs on it, regions that move, and stages that differ."""
    for name, p in model.named_parameters():
        if "fc_reg" in name or "rpn.rpn_reg" in name:
            p.mul_(20)
        elif name.endswith(("fc_cls.weight", "rpn.rpn_cls.weight")):
            p.mul_(100)
    return model


def of(features, n):
    """The features of one image alone."""
    return features._replace(tokens_BLD=features.tokens_BLD[[n]], pooled_ND=features.pooled_ND[[n]])


def things(number=0, size=64, canvas=None, objects=4):
    """The objects of an image of shapes, on a canvas (height, width) that may be larger."""
    drawn = generated_shapes.render(0, np.arange(number, number + 1), size, objects=objects, instances=True)
    height, width = canvas or (size, size)
    masks = torch.zeros(len(drawn.boxes[0]), height, width, dtype=torch.uint8)
    masks[:, :size, :size] = torch.from_numpy(drawn.instance_masks[0])
    boxes, labels = torch.from_numpy(drawn.boxes[0]), torch.from_numpy(drawn.instance_classes[0])
    return Instances(boxes, labels, masks, torch.zeros(len(boxes), dtype=torch.bool))


def samples(batch=2, size=64, canvas=None):
    return [Sample((size, size), (size, size), things(n, size, canvas), seed=n) for n in range(batch)]


def nothing(size):
    return Instances(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, *size, dtype=torch.uint8),
        torch.zeros(0) > 0,
    )


def losses_of(model, given, said, size=(64, 64)):
    return model.losses(model(given, size), said)


def detections_of(model, given, size, said):
    return model.detections(model(given, size), said)


def random_boxes(n, seed, side=200.0, least=4.0):
    g = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(n, 2, generator=g) * side, least + torch.rand(n, 2, generator=g) * side / 2
    return torch.cat([corner, corner + size], 1)


# mmdet's settings, and its parts against torchvision's


def test_the_settings_are_those_of_mmdets_cascade_mask_rcnn_but_for_anchors_at_the_border():
    ready()
    import mmdet
    from mmengine.config import Config

    path = Path(mmdet.__file__).parent / ".mim/configs/_base_/models/cascade-mask-rcnn_r50_fpn.py"
    theirs = Config.fromfile(path).model.to_dict()
    rpn, roi = rpn_settings(256, 512), roi_settings(80, 256, 512)
    training = {"rpn": rpn.pop("train_cfg"), "rcnn": roi.pop("train_cfg")}
    training["rpn_proposal"] = training_proposals().to_dict()
    assert training["rpn"].pop("allowed_border") == -1
    assert theirs["train_cfg"]["rpn"].pop("allowed_border") == 0
    for stage in (theirs["train_cfg"]["rpn"], *theirs["train_cfg"]["rcnn"]):
        assert stage.pop("debug") is False
    assert training == theirs["train_cfg"]
    assert {"rpn": rpn.pop("test_cfg"), "rcnn": roi.pop("test_cfg")} == theirs["test_cfg"]
    assert rpn == theirs["rpn_head"]
    assert roi == theirs["roi_head"]


@pytest.mark.parametrize("iou", IOUS)
def test_regions_are_assigned_to_objects_as_torchvisions_matcher_does(iou):
    assigner = head().roi.bbox_assigner[IOUS.index(iou)]
    regions, objects = random_boxes(300, 0), random_boxes(20, 1)
    regions[:100] = objects.repeat(5, 1) + torch.randn(100, 4, generator=torch.Generator().manual_seed(2)) * 4
    got = assigned(assigner, regions, objects)
    want = _utils.Matcher(iou, iou)(box_iou(objects, regions))
    assert (got - 1).tolist() == want.tolist()
    assert 10 < (got > 0).sum() < 100


def assigned(assigner, regions, objects):
    """0: background, -1: neither, else 1 + number of the object."""
    from mmengine.structures import InstanceData

    labels = torch.zeros(len(objects), dtype=torch.long)
    given = InstanceData(bboxes=objects, labels=labels)
    return assigner.assign(InstanceData(priors=regions), given, InstanceData(bboxes=regions[:3])).gt_inds


def test_anchors_are_background_objects_or_neither_as_torchvisions_matcher_says():
    anchors = torch.cat(head().rpn.prior_generator.grid_priors([(32, 32), (16, 16)] + [(8, 8)] * 3, device="cpu"))
    objects = torch.tensor([[4.0, 6, 40, 44], [60, 60, 90, 85], [10, 80, 30, 120]])
    got = assigned(head().rpn.assigner, anchors, objects)
    want = _utils.Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(objects, anchors))
    assert torch.equal(got > 0, want >= 0)
    assert torch.equal(got == 0, want == -1)
    assert torch.equal(got == -1, want == -2)
    assert set(got.tolist()) == {-1, 0, 1, 2, 3}


@pytest.mark.parametrize("stage", range(3))
def test_boxes_are_coded_as_torchvision_codes_them(stage):
    ours, theirs = head().roi.bbox_head[stage].bbox_coder, _utils.BoxCoder([1 / std for std in STDS[stage]])
    regions, objects = random_boxes(50, 0), random_boxes(50, 1)
    torch.testing.assert_close(
        ours.encode(regions, objects), theirs.encode([objects], [regions])[0], rtol=1e-4, atol=1e-4
    )
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(2)) * 3
    want = torchvision.ops.clip_boxes_to_image(theirs.decode(deltas, [regions])[:, 0], (150, 220))
    torch.testing.assert_close(ours.decode(regions, deltas, max_shape=(150, 220)), want, rtol=1e-4, atol=1e-3)


def test_of_boxes_that_overlap_the_best_is_kept_as_torchvisions_batched_nms_does():
    ready()
    from mmdet.models.layers import multiclass_nms

    g = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(200, 0), torch.rand(200, 4, generator=g).softmax(-1)
    dets, labels = multiclass_nms(boxes, scores, 0.25, head().roi.test_cfg.nms, 100)
    row, label = (scores[:, :-1] > 0.25).nonzero(as_tuple=True)
    kept = batched_nms(boxes[row], scores[row, label], label, 0.5)[:100]
    torch.testing.assert_close(dets, torch.cat([boxes[row], scores[row, label][:, None]], 1)[kept])
    assert labels.tolist() == label[kept].tolist()


def test_regions_are_cut_from_the_level_and_with_the_numbers_of_torchvisions_align():
    extractor = head().roi.bbox_roi_extractor[0]
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, CHANNELS, 768 // s, 768 // s, generator=g) for s in FPN_STRIDES]
    boxes = torch.cat([random_boxes(20, 1, 300, 20), random_boxes(20, 2, 250, 225), random_boxes(9, 3, 200, 460)])
    number = torch.arange(len(boxes)) % 2
    regions = torch.cat([number[:, None].float(), boxes], 1)
    got, levels = extractor(maps, regions), extractor.map_roi_levels(regions, 4)
    assert set(levels.tolist()) == {0, 1, 2, 3}
    # torchvision has the first cell's centre at 0 there, where it has its corner here
    moved = boxes - 0.5 * torch.tensor(FPN_STRIDES)[levels][:, None]
    for level, stride in enumerate(FPN_STRIDES):
        theirs = torchvision.ops.MultiScaleRoIAlign(["map"], 7, -1)
        of_it = [levels.eq(level) & number.eq(n) for n in (0, 1)]
        want = theirs({"map": maps[level]}, [moved[kept] for kept in of_it], [(768, 768)] * 2)
        torch.testing.assert_close(torch.cat([got[kept] for kept in of_it]), want, rtol=1e-4, atol=1e-4)
        aligned = roi_align(maps[level], [boxes[kept] for kept in of_it], 7, 1 / stride, 0, True)
        torch.testing.assert_close(torch.cat([got[kept] for kept in of_it]), aligned, rtol=1e-4, atol=1e-4)


def test_masks_are_pasted_where_each_pixels_centre_lies_in_the_box_nearly_as_torchvision_does():
    ready()
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    g = torch.Generator().manual_seed(0)
    soft_N1hw = F.interpolate(torch.rand(6, 1, 4, 4, generator=g), (28, 28), mode="bicubic").clamp(0, 1)
    boxes = random_boxes(6, 1, 60, 40)
    got, _ = _do_paste_mask(soft_N1hw, boxes, 128, 160, skip_empty=False)
    theirs = paste_masks_in_image(soft_N1hw, boxes, (128, 160))[:, 0]
    both, either = ((got >= 0.5) & (theirs >= 0.5)).sum(), ((got >= 0.5) | (theirs >= 0.5)).sum()
    assert both / either > 0.93  # its boxes are whole pixels, and one larger
    for n, y, x in [(0, 70, 60), (1, 64, 50), (2, 40, 40), (3, 90, 75), (4, 30, 60)]:
        x0, y0, x1, y1 = boxes[n].tolist()
        at = [(y + 0.5 - y0) / (y1 - y0) * 28 - 0.5, (x + 0.5 - x0) / (x1 - x0) * 28 - 0.5]
        value = 0.0
        for row in (int(np.floor(at[0])), int(np.floor(at[0])) + 1):
            for column in (int(np.floor(at[1])), int(np.floor(at[1])) + 1):
                if 0 <= row < 28 and 0 <= column < 28:
                    share = (1 - abs(at[0] - row)) * (1 - abs(at[1] - column))
                    value += share * soft_N1hw[n, 0, row, column].item()
        assert got[n, y, x].item() == pytest.approx(value, abs=1e-4)


def test_masks_are_cut_out_to_the_bit_as_mmdets_bitmaps_are():
    ready()
    from mmdet.structures.mask import BitmapMasks

    masks = things().masks_nHW
    boxes = random_boxes(40, 0, 40, 3).clamp(0, 64).numpy()
    inds = np.arange(40) % len(masks)
    for binary in (True, False):
        got = Masks(masks).crop_and_resize(boxes, (28, 28), inds, "cpu", binarize=binary).to_ndarray()
        bitmaps = BitmapMasks(masks.numpy(), 64, 64)
        want = bitmaps.crop_and_resize(boxes, (28, 28), inds, "cpu", binarize=binary).to_ndarray()
        assert np.array_equal(got, want)
        assert got.any()


# the whole


@pytest.mark.parametrize(
    ("patch", "size"), [(64, (64, 128)), (32, (64, 96)), (16, (64, 64)), (8, (64, 96)), (4, (64, 64)), (1, (64, 64))]
)
def test_every_weight_gets_a_gradient_at_every_patch(patch, size):
    model = head(patch, rois=1024)  # enough that no level is left out by chance
    losses = losses_of(model, features(patch, size), samples(canvas=size), size)
    assert set(losses) == NAMES
    for loss_B in losses.values():
        assert loss_B.shape == (2,)
        assert torch.isfinite(loss_B).all()
    sum(losses.values()).mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def reference(model, given, sample, size=64):
    """All losses of one image, where no sample is left out: on torchvision's parts, and the heads' own layers."""
    maps = model.neck(given.to_map(), (size, size))
    boxes, labels, masks, _ = sample.instances
    scores, deltas = model.rpn(maps)
    flat = [torch.cat([m[0].permute(1, 2, 0).reshape(-1, k) for m in of]) for of, k in ((scores, 1), (deltas, 4))]
    anchors = []
    for stride, map in zip((*FPN_STRIDES, 64), maps, strict=True):
        for y in range(map.shape[2]):
            for x in range(map.shape[3]):
                for ratio in (0.5, 1.0, 2.0):
                    w, h = 8 * stride / ratio**0.5, 8 * stride * ratio**0.5
                    anchors.append([x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2])
    anchors = torch.tensor(anchors)
    overlap = box_iou(boxes, anchors)
    number = _utils.Matcher(0.7, 0.3)(overlap)
    for n in range(len(boxes)):  # each has its best ones
        if overlap[n].max() >= 0.3:
            number[overlap[n] == overlap[n].max()] = n
    taken, found = number != -2, number >= 0
    losses = {"rpn_cls": F.binary_cross_entropy_with_logits(flat[0][taken, 0], found[taken].float())}
    target = _utils.BoxCoder((1.0, 1, 1, 1)).encode_single(boxes[number[found]], anchors[found])
    losses["rpn_box"] = F.smooth_l1_loss(flat[1][found], target, reduction="sum", beta=1 / 9) / taken.sum()
    meta = {"img_shape": (size, size), "scale_factor": (1, 1)}
    (proposed,) = model.rpn.predict_by_feat(scores, deltas, batch_img_metas=[meta], cfg=model.proposals)
    regions = proposed.bboxes
    for stage, (iou, weight) in enumerate(zip(IOUS, WEIGHTS, strict=True)):
        regions = torch.cat([boxes, regions])
        number = _utils.Matcher(iou, iou)(box_iou(boxes, regions))
        found = number >= 0
        label = torch.where(found, labels[number.clamp(min=0)], CLASSES)
        rois = torch.cat([torch.zeros(len(regions), 1), regions], 1)
        box_head, mask_head = model.roi.bbox_head[stage], model.roi.mask_head[stage]
        logits, moves = box_head(model.roi.bbox_roi_extractor[stage](maps[:4], rois))
        losses[f"cls_{stage}"] = weight * F.cross_entropy(logits, label)
        coder = _utils.BoxCoder([1 / std for std in STDS[stage]])
        target = coder.encode_single(boxes[number[found]], regions[found])
        losses[f"box_{stage}"] = weight * F.smooth_l1_loss(moves[found], target, reduction="sum") / len(regions)
        said = mask_head(model.roi.mask_roi_extractor[stage](maps[:4], rois[found]))
        said = said[torch.arange(len(said)), label[found]]
        own = torch.cat([number[found][:, None].float(), regions[found]], 1)
        cut = roi_align(masks[:, None].float(), own, (28, 28), 1.0, 0, True)[:, 0] >= 0.5
        losses[f"mask_{stage}"] = weight * F.binary_cross_entropy_with_logits(said, cut.float())
        moved = coder.decode_single(moves.detach(), regions)
        regions = torchvision.ops.clip_boxes_to_image(moved, (size, size))[len(boxes) :]
    return losses


@pytest.mark.parametrize("patch", [16, 4])
def test_all_losses_are_those_of_a_slow_reference(patch):
    model, given = decided(head(patch, rois=10**5)), features(patch)
    got = losses_of(model, given, samples())
    for n, sample in enumerate(samples()):
        want = reference(model, of(given, n), sample)
        assert want.keys() == got.keys()
        for name in want:
            assert got[name][n].item() == pytest.approx(want[name].item(), rel=1e-4, abs=1e-6), name


def test_an_images_losses_do_not_depend_on_its_batch():
    """All regions are samples: which of them are drawn hangs on their order, which may hang on rounding."""
    model, given = decided(head(rois=10**5)), features(8, batch=3)
    together = losses_of(model, given, samples(3))
    for n, sample in enumerate(samples(3)):
        for name, loss_B in losses_of(model, of(given, n), [sample]).items():
            assert loss_B[0].item() == pytest.approx(together[name][n].item(), rel=1e-4, abs=1e-6), (n, name)


def test_samples_follow_from_the_seed_alone_and_the_random_numbers_outside_are_left_alone():
    model, given, said = head(), features(8), samples()
    torch.manual_seed(1)
    before, other = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    once = losses_of(model, given, said)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], other)  # noqa: NPY002
    torch.manual_seed(2)
    again = losses_of(model, given, said)
    assert all(torch.equal(again[name], once[name]) for name in NAMES)
    unlike = losses_of(model, given, [s._replace(seed=99) for s in said])
    assert not torch.equal(unlike["rpn_cls"], once["rpn_cls"])


def test_anchors_in_the_padding_are_no_samples_and_what_is_in_it_changes_no_target(monkeypatch):
    canvas, seen = (96, 128), []
    model, said = head(rois=10**5), samples(canvas=(96, 128))
    targets = model.rpn.get_targets
    monkeypatch.setattr(model.rpn, "get_targets", lambda *a, **k: seen.append(targets(*a, **k)) or seen[-1])
    given = features(8, canvas)
    losses_of(model, given, said, canvas)
    map_BhwD = given.tokens_BLD.unflatten(1, given.layout.grid)
    map_BhwD[:, 8:], map_BhwD[:, :, 8:] = 9.0, -9.0
    losses_of(model, given, said, canvas)
    for before, after in zip(seen[:2], seen[2:], strict=True):
        for one, other in zip(before[:4], after[:4], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for weight, stride in zip(seen[0][1], (*FPN_STRIDES, 64), strict=True):
        h, w = -(-96 // stride), -(-128 // stride)
        used = weight.view(h, w, 3) > 0
        inside = 64 // stride
        assert not used[inside:].any()
        assert not used[:, inside:].any()
        assert used[:inside, :inside].any()


def test_a_crowd_is_not_learned():
    model, given, (first, second) = head(), features(8), samples()
    boxes, labels, masks, crowd = second.instances
    more = Instances(
        torch.cat([boxes, torch.tensor([[2.0, 3, 50, 40]])]),
        torch.cat([labels, torch.tensor([5])]),
        torch.cat([masks, torch.ones_like(masks[:1])]),
        torch.cat([crowd, torch.tensor([True])]),
    )
    with_it = losses_of(model, given, [first, second._replace(instances=more)])
    without = losses_of(model, given, [first, second])
    assert all(torch.equal(with_it[name], without[name]) for name in NAMES)
    learned = losses_of(
        model, given, [first, second._replace(instances=more._replace(crowd_n=torch.zeros(len(crowd) + 1) > 0))]
    )
    assert learned["rpn_cls"][1] != without["rpn_cls"][1]


@pytest.mark.parametrize("proposals", [True, False])
def test_an_image_without_objects_trains_and_every_weight_has_a_gradient(proposals, monkeypatch):
    model = head()
    if not proposals:
        predict = model.rpn.predict_by_feat
        monkeypatch.setattr(model.rpn, "predict_by_feat", lambda *a, **k: [found[:0] for found in predict(*a, **k)])
    losses = losses_of(model, features(8, batch=1), [Sample((64, 64), (64, 64), nothing((64, 64)))])
    assert set(losses) == NAMES
    assert losses["cls_0"] > 0
    assert all(losses[name] == 0 for name in NAMES if name[:3] in ("box", "mas"))
    sum(losses.values()).mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_without_its_objects_an_image_has_detections_but_no_losses():
    model, said = head(), [Sample((64, 64), (64, 64))]
    with pytest.raises(ValueError, match="without its objects"):
        losses_of(model, features(8, batch=1), said)
    (found,) = detections_of(model, features(8, batch=1), (64, 64), said)
    assert len(found["boxes"]) == 100


def test_sides_that_anchors_do_not_tile_are_refused():
    with pytest.raises(ValueError, match="72 x 64 px: pad them to multiples of 32"):
        head()(features(8, (72, 64)), (72, 64))


@torch.no_grad()
def test_detections_are_given_at_the_original_size_best_first_and_alike_in_any_batch():
    model, canvas = decided(head()), (64, 96)
    given = features(8, canvas)
    at = [Sample((48, 80), (48, 80)), Sample((64, 64), (64, 64))]
    larger = [Sample((48, 80), (72, 160)), Sample((64, 64), (32, 16))]
    small, large = (detections_of(model, given, canvas, which) for which in (at, larger))
    for n, (one, other) in enumerate(zip(small, large, strict=True)):
        (h, w), (height, width) = larger[n].size, larger[n].original
        scale = torch.tensor([width / w, height / h] * 2)
        assert len(one["boxes"]) > 20
        torch.testing.assert_close(one["boxes"] * scale, other["boxes"], rtol=1e-4, atol=1e-3)
        assert torch.equal(one["scores"], other["scores"])
        assert torch.equal(one["labels"], other["labels"])
        assert other["masks"].shape == (len(other["boxes"]), height, width)
        assert other["masks"].dtype == torch.bool
        assert (one["scores"].diff() <= 0).all()
        assert (other["boxes"] >= 0).all()
        assert (other["boxes"].amax(0) <= torch.tensor([width, height] * 2) + 1e-3).all()
        (alone,) = detections_of(model, of(given, n), canvas, [at[n]])
        torch.testing.assert_close(alone["boxes"], one["boxes"], rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_an_image_in_which_nothing_is_found_has_empty_detections():
    model = head()
    for box_head in model.roi.bbox_head:
        box_head.fc_cls.bias[-1] = 50.0  # surely background
    (found,) = detections_of(model, features(8, batch=1), (64, 64), [Sample((64, 64), (40, 50))])
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "boxes": (0, 4),
        "scores": (0,),
        "labels": (0,),
        "masks": (0, 40, 50),
    }


# the neck and the weights


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("patch", [64, 16, 4, 1])
def test_the_neck_gives_five_contiguous_maps_to_any_stride(patch, format):
    neck = Neck(WIDTH, patch, CHANNELS).to(memory_format=format)
    maps = neck(features(patch, (64, 128)).to_map().contiguous(memory_format=format), (64, 128))
    assert [tuple(m.shape[1:]) for m in maps] == [(CHANNELS, -(-64 // s), 128 // s) for s in (*FPN_STRIDES, 64)]
    assert all(m.is_contiguous() for m in maps)
    assert torch.equal(maps[4], maps[3][:, :, ::2, ::2])
    assert not [m for m in head().modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("patch", [16, 4])
def test_in_bf16_the_head_is_still_float32(patch):
    model, given = head(patch), features(patch)
    want = losses_of(model, given, samples())
    rounded = given._replace(tokens_BLD=given.tokens_BLD.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        got = losses_of(model, rounded, samples())
    assert all(loss.dtype == torch.float32 for loss in got.values())
    assert sum(got.values()).mean().item() == pytest.approx(sum(want.values()).mean().item(), rel=0.02)
    sum(got.values()).mean().backward()
    assert torch.isfinite(model.neck.levels[0][0].weight.grad).all()


def test_weights_follow_from_the_seed_and_the_modules_names():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = {patch: head(patch).state_dict() for patch in (64, 16, 1)}
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = head(16).state_dict(), head(16, seed=1).state_dict()
    assert all(torch.equal(again[key], one[16][key]) for key in again)
    assert not torch.equal(other["rpn.rpn_conv.weight"], again["rpn.rpn_conv.weight"])
    for patch, state in one.items():  # larger patches have all of the weights of smaller ones, and more
        assert state.keys() <= one[64].keys()
        assert all(torch.equal(state[key], one[64][key]) for key in state), patch


@torch.no_grad()
def test_weights_are_drawn_as_mmdet_draws_them():
    ours = head(classes=80, channels=64)
    theirs = head(classes=80, channels=64, seed=1)
    torch.manual_seed(0)
    theirs.rpn.init_weights()
    theirs.roi.init_weights()
    for (name, one), (_, other) in zip(ours.rpn.named_parameters(), theirs.rpn.named_parameters(), strict=True):
        assert one.std().item() == pytest.approx(other.std().item(), rel=0.15), name
    for (name, one), (_, other) in zip(ours.roi.named_parameters(), theirs.roi.named_parameters(), strict=True):
        assert one.std().item() == pytest.approx(other.std().item(), rel=0.15), name
        assert one.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.4), name


def test_at_the_papers_size_the_head_is_as_large_as_mmdets():
    model = build_head(WIDTH, 16, 80, 256, 0)
    # 256 to 1,024 twice over 49 places, 81 classes, 4 numbers of a box
    box = 256 * 49 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 81 + 81 + 1024 * 4 + 4
    mask = 4 * (256 * 256 * 9 + 256) + 256 * 256 * 4 + 256 + 256 * 80 + 80
    assert sum(p.numel() for p in model.roi.parameters()) == 3 * (box + mask)
    assert sum(p.numel() for p in model.rpn.parameters()) == 256 * 256 * 9 + 256 + 256 * 15 + 15
    assert model.roi.bbox_sampler[0].num == 512
