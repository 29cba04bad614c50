"""Role ingest as a process: strangers' files in, embeddings, thumbnails and reasons out."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from child import Child, embedding
from drawing import draw, encode, save, white_png
from PIL import Image

from trainer.python.backbone import registry
from trainer.python.blocks import Blocks
from trainer.python.splits import group_near_duplicates


def test_a_picture_gives_an_embedding_its_size_and_its_true_type(ingest, tmp_path):
    # Its name says something else than its content, which counts.
    path = save(draw("discs", 1, 301, 203), tmp_path / "picture.txt", format="WEBP")
    (event,) = ingest.ingest([path])
    assert (event["width"], event["height"], event["type"]) == (301, 203, "image/webp")
    assert embedding(event).shape == (2688,)
    assert np.isfinite(embedding(event)).all()


jpeg = encode(draw("discs", 2), "JPEG")
png = encode(draw("discs", 2), "PNG")
webp = encode(draw("discs", 2), "WEBP")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(b"Dear diary, today I trained a computer.\n", "not-an-image", id="text"),
        pytest.param(encode(draw("discs", 2), "GIF"), "not-an-image", id="GIF"),
        pytest.param(encode(draw("discs", 2), "TIFF"), "not-an-image", id="TIFF"),
        pytest.param(encode(draw("discs", 2), "BMP"), "not-an-image", id="BMP"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not-an-image", id="SVG"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image", id="EPS"),
        pytest.param(jpeg[: len(jpeg) // 2], "damaged", id="half a JPEG"),
        pytest.param(png[: len(png) // 2], "damaged", id="half a PNG"),
        pytest.param(webp[: len(webp) // 2], "damaged", id="half a WebP"),
        pytest.param(white_png(6000, 5000), "too-many-pixels", id="30 megapixels"),
    ],
)
def test_a_bad_picture_gets_its_reason_and_the_one_beside_it_is_taken(ingest, tmp_path, data, code):
    bad, good = tmp_path / "bad.jpg", save(draw("stripes", 3), tmp_path / "good.jpg")
    bad.write_bytes(data)
    first, second = ingest.ingest([bad, good])
    assert first["reason"]["code"] == code
    assert first["reason"]["message"].endswith(".")
    assert "embedding" not in first
    assert "embedding" in second


def test_a_picture_as_large_as_the_limit_is_taken(ingest, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(white_png(500, 400))
    assert "embedding" in ingest.ingest([path], pixels=200_000)[0]
    reason = ingest.ingest([path], pixels=199_999)[0]["reason"]
    assert reason["params"] == {"width": 500, "height": 400, "limit": 199_999, "megapixels": 0.199999}
    assert "500 x 400 pixels. At most 0.199999 megapixels" in reason["message"]


@pytest.mark.parametrize("huge", ["PNG", "WEBP"])
def test_a_huge_picture_is_refused_by_its_header(ingest, tmp_path, huge):
    """50 ms and 64 MiB are what the design allows; decoded, the PNG would take 1.2 GB."""
    path = tmp_path / "huge"
    if huge == "PNG":
        path.write_bytes(white_png(20_000, 20_000))
    else:
        save(Image.new("RGB", (16_383, 8_000)), path, format="WEBP", lossless=True, method=0)
    assert path.stat().st_size < 1_000_000
    ingest.ingest([path])
    before = ingest.memory("VmHWM")
    began = time.perf_counter()
    (event,) = ingest.ingest([path])
    seconds = time.perf_counter() - began
    assert event["reason"]["code"] == "too-many-pixels"
    # Ten times the allowance in time: these cores are shared.
    assert seconds < 0.5
    assert ingest.memory("VmHWM") - before < 64 * 2**20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_seen_upright(ingest, tmp_path, orientation):
    """What a camera stores turned gives the embedding and the thumbnail of what its owner saw."""
    seen = draw("stripes", 4, 180, 120)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = seen.transpose(turn) if turn is not None else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    paths = [save(seen, tmp_path / "seen.png"), save(stored, tmp_path / "stored.png", exif=exif)]
    upright, turned = ingest.ingest(paths, {1: tmp_path / "thumbnail.webp"})
    assert (turned["width"], turned["height"]) == (180, 120)
    assert np.abs(embedding(upright) - embedding(turned)).max() < 1e-5
    assert Image.open(tmp_path / "thumbnail.webp").size == (180, 120)


def test_damaged_exif_does_not_cost_the_picture(ingest, tmp_path):
    exif = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\xff\xff\x01\x12\x00\x03\x00\x00\x00\x01garbage"
    path = save(draw("discs", 5), tmp_path / "exif.jpg", exif=exif)
    assert "embedding" in ingest.ingest([path])[0]


def test_a_thumbnail_is_small_and_carries_no_metadata(ingest, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 59.0), 3: "E", 4: (126.0, 58.0, 40.0)})
    exif[0x010F] = "Secret Camera"
    path = save(
        draw("discs", 6, 900, 600), tmp_path / "gps.jpg", exif=exif, comment=b"Secret comment", icc_profile=b"Secret"
    )
    assert path.read_bytes().count(b"Secret") == 3
    thumbnail = tmp_path / "thumbnail.webp"
    ingest.ingest([path], {0: thumbnail})
    data = thumbnail.read_bytes()
    assert b"Secret" not in data
    assert not any(chunk in data for chunk in (b"EXIF", b"XMP ", b"ICCP"))
    with Image.open(thumbnail) as image:
        assert (image.format, image.size) == ("WEBP", (256, 171))


def test_what_is_transparent_is_white_and_sixteen_bits_are_scaled(ingest, tmp_path):
    drawn = np.asarray(draw("squares", 7))
    hidden = np.dstack([drawn, np.full(drawn.shape[:2], 255, np.uint8)])
    hidden[:60, :60, 3] = 0
    white = drawn.copy()
    white[:60, :60] = 255
    grey = np.asarray(draw("squares", 7).convert("L"))
    paths = [
        save(Image.fromarray(hidden), tmp_path / "transparent.png"),
        save(Image.fromarray(white), tmp_path / "white.png"),
        save(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "sixteen.png"),
        save(Image.fromarray(grey), tmp_path / "eight.png"),
    ]
    transparent, on_white, sixteen, eight = (embedding(event) for event in ingest.ingest(paths))
    assert np.abs(transparent - on_white).max() < 1e-5
    assert np.abs(sixteen - eight).max() < 1e-5


def test_an_animation_is_its_first_frame(ingest, tmp_path):
    frames = [draw("discs", seed) for seed in (8, 9)]
    options = {"save_all": True, "append_images": frames[1:]}
    paths = [
        save(frames[0], tmp_path / "still.webp", lossless=True),
        save(frames[0], tmp_path / "moving.webp", lossless=True, **options),
        save(frames[0], tmp_path / "moving.png", **options),
    ]
    still, *moving = (embedding(event) for event in ingest.ingest(paths))
    for one in moving:
        assert np.abs(still - one).max() < 1e-4


def test_an_embedding_does_not_depend_on_the_pictures_beside_it(ingest, pictures):
    alone = np.stack([embedding(ingest.ingest([path])[0]) for path in pictures.paths[::7]])
    assert np.abs(alone - pictures.embeddings[::7]).max() < 1e-4


def test_grey_palette_and_cmyk_pictures_are_taken(ingest, tmp_path):
    image = draw("discs", 10)
    paths = [
        save(image.convert("L"), tmp_path / "grey.jpg"),
        save(image.convert("CMYK"), tmp_path / "cmyk.jpg"),
        save(image.quantize(16), tmp_path / "palette.png"),
        save(image.convert("1"), tmp_path / "one-bit.png"),
        save(image.convert("LA"), tmp_path / "grey-transparent.png"),
        save(Image.new("RGB", (1, 1)), tmp_path / "one-pixel.png"),
    ]
    assert all("embedding" in event for event in ingest.ingest(paths))


def test_memory_stays_when_many_pictures_pass(ingest, tmp_path):
    """A worker without torch has to stay under 512 MiB."""
    paths = [save(draw("discs", seed, 640 + seed, 480), tmp_path / f"{seed}.jpg") for seed in range(16)]
    for _ in range(4):
        ingest.ingest(paths)
    assert ingest.memory("VmHWM") < 512 * 2**20


def test_the_next_frame_and_the_picture_saved_again_are_near_duplicates(ingest, pictures, tmp_path):
    """What decides that is measured on photos; here that it holds for drawn pictures, which share more than photos do."""
    originals = [Image.open(path).convert("RGB") for path in pictures.paths[:6]]
    moved = [image.crop((5, 3, image.width, image.height - 4)) for image in originals]
    paths = [save(image, tmp_path / f"{index}.jpg", quality=60) for index, image in enumerate(moved)]
    again = np.stack([embedding(event) for event in ingest.ingest(paths)])
    both = Blocks(np.concatenate([pictures.embeddings, again]), registry["efficientnet-lite0"].is_level)
    labels = np.concatenate([pictures.labels, pictures.labels[:6]])
    groups = group_near_duplicates(both.last_layer, labels, np.full(len(labels), -1))
    groups = np.concatenate([groups[:6], groups[36:]])
    assert np.array_equal(groups[:6], groups[6:])
    assert len(set(groups)) >= 4


def test_a_picture_that_costs_the_request_leaves_nothing_behind(ingest, tmp_path):
    """What was not looked at when the disk was full must not be answered into the next request."""
    path = save(draw("discs", 1, 1200, 900), tmp_path / "good.jpg")
    images = [{"path": str(path), "thumbnail": str(tmp_path / "no-folder" / "x.webp")}] * 50
    params = {"backbone": "efficientnet-lite0", "images": images, "limits": {"pixels": 10**7}}
    began = time.perf_counter()
    answer, _ = ingest.ask("ingest", params)
    assert answer["error"]["code"] == "failed"
    assert time.perf_counter() - began < 0.5
    assert len(ingest.ingest([path, path])) == 2


def test_memory_does_not_grow_with_the_pictures_of_one_request(cache, tmp_path):
    path = save(draw("discs", 1, 300, 200), tmp_path / "good.jpg")
    with Child("ingest", cache) as child:
        child.ingest([path] * 20)
        before = child.memory("VmHWM")
        child.ingest([path] * 300)
        # 300 prepared pictures waiting for the network would be 180 MB.
        assert child.memory("VmHWM") - before < 40 * 2**20


def test_a_cold_cache_is_filled_by_a_process_of_its_own(tmp_path):
    """Two children that start at once on an empty cache; neither keeps the gigabyte that making graphs takes."""
    path = save(draw("discs", 1), tmp_path / "good.jpg")
    backbones = ["efficientnet-lite0"]
    with (
        Child("ingest", tmp_path / "cache", backbones=backbones) as one,
        Child("ingest", tmp_path / "cache", backbones=backbones) as other,
    ):
        with ThreadPoolExecutor() as pool:
            events = list(pool.map(lambda child: child.ingest([path]), (one, other)))
        assert all("embedding" in event for (event,) in events)
        assert max(child.memory("VmHWM") for child in (one, other)) < 512 * 2**20
    made = [file.name for file in (tmp_path / "cache").iterdir() if not file.name.startswith(".")]
    assert len(made) == 4
    assert all(name.startswith("efficientnet-lite0-") for name in made)
