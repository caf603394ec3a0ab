"""The split, the record, and the data sets that torchvision reads, on small files in their published layouts."""

from __future__ import annotations

import io
import json
import os
import urllib.error
import urllib.request

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data import DataConfig, content_hash, listing, load, split_sizes
from bench.errors import UserError
from tests.data_layouts import (
    everything,
    multiset,
    pack_cifar10,
    read,
    refused,
    write_cifar10,
    write_fashion_mnist,
    write_folder,
    write_svhn,
)

# The split


def test_digits_are_split_as_stated_and_described_in_json():
    data = read("digits")
    assert data.train.shape == (1498, 1, 8, 8)
    assert data.held_out.shape == (299, 1, 8, 8)
    assert data.train.dtype == torch.uint8
    assert set(data.train.unique().tolist()) == {round(level * 255 / 16) for level in range(17)}
    told = json.loads(json.dumps(data.describe()))
    assert told["image_shape"] == [1, 8, 8] == list(data.image_shape)
    assert (told["name"], told["train"], told["held_out"], told["split_seed"]) == ("digits", 1498, 299, 0)
    short = "1,797 images: 1,498 for training and 299 held out, fewer than the protocol's 40,000 and 1,000"
    assert told["notes"][0] == short
    assert told["content_hash"] == content_hash(data.train, data.held_out)


def test_the_split_is_disjoint_covers_the_pool_and_follows_its_seed(tmp_path):
    images = write_folder(tmp_path / "set", 30)
    spec = f"folder:{tmp_path / 'set'}"
    a, again, other = read(spec), read(spec), read(spec, split_seed=1)
    assert (len(a.train), len(a.held_out)) == (25, 5)
    assert everything(a) == multiset(images.transpose(0, 3, 1, 2))  # all differ, so the parts share none
    assert torch.equal(a.train, again.train)
    assert a.content_hash == again.content_hash != other.content_hash
    assert multiset(a.held_out.numpy()) != multiset(other.held_out.numpy())


def test_the_held_out_images_do_not_depend_on_how_many_are_for_training(tmp_path):
    write_folder(tmp_path / "set", 30)
    spec = f"folder:{tmp_path / 'set'}"
    few, many = read(spec, max_train=3, held_out=2), read(spec, max_train=28, held_out=2)
    assert torch.equal(few.held_out, many.held_out)
    assert torch.equal(few.train, many.train[:3])
    assert few.notes == many.notes == ()


def test_validation_images_come_out_of_training_and_move_no_other(tmp_path):
    write_folder(tmp_path / "set", 30)
    spec = f"folder:{tmp_path / 'set'}"
    whole, apart = read(spec, max_train=20, held_out=2), read(spec, max_train=20, held_out=2, validation=6)
    assert torch.equal(torch.cat([apart.train, apart.validation]), whole.train)
    assert torch.equal(apart.held_out, whole.held_out)
    assert (len(apart.train), len(apart.validation), len(whole.validation)) == (14, 6, 0)
    assert apart.notes == ("6 training images are set apart for tuning",)
    assert whole.content_hash == content_hash(whole.train, whole.held_out)
    assert apart.content_hash == content_hash(apart.train, apart.held_out, apart.validation)
    with pytest.raises(UserError, match=r"data\.validation=11 .* 20 training images .* give at most 10"):
        read(spec, max_train=20, held_out=2, validation=11)


def test_a_split_without_validation_is_recorded_as_before_there_was_any():
    assert DataConfig().settings() == {"max_train": 40_000, "held_out": 1_000, "split_seed": 0, "image_size": 0}
    assert DataConfig(validation=5).settings()["validation"] == 5


@given(pool=st.integers(12, 10**7), max_train=st.integers(1, 10**6), held_out=st.integers(1, 10**6))
def test_split_sizes(pool, max_train, held_out):
    train, held = split_sizes(pool, DataConfig(max_train=max_train, held_out=held_out))
    assert 1 <= train <= max_train
    assert 1 <= held <= held_out
    assert held * 6 <= pool
    assert train + held <= pool
    assert train == max_train or train + held == pool  # none left unused while more were wanted
    assert held == held_out or held == pool // 6


def test_the_content_hash_sees_one_pixel_and_the_shape():
    a, b = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    changed = a.clone()
    changed[2, 0, 3, 3] = 1
    hashes = {content_hash(a, b), content_hash(changed, b), content_hash(a.reshape(3, 1, 2, 8), b), content_hash(b, a)}
    assert len(hashes) == 4


@pytest.mark.parametrize("field", ["max_train", "held_out", "split_seed", "image_size", "validation"])
def test_a_config_out_of_range_names_the_field(field):
    for value in (-1, 1.5):
        with pytest.raises(ValueError, match=f"{field}={value}"):
            DataConfig(**{field: value})


# The published sets


def test_cifar10_batches(tmp_path, monkeypatch):
    images = write_cifar10(tmp_path, monkeypatch)
    data = read("cifar10", tmp_path)
    assert everything(data) == multiset(images)
    assert data.train.is_contiguous()
    assert data.image_shape == (3, 32, 32)


def test_a_cifar10_batch_that_was_changed_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(b"cbuiltins\neval\n(S'1/0'\ntR.")  # would raise ZeroDivisionError
    with refused("cifar10", batch.parent, "data_batch_3", "MD5", "move them elsewhere"):
        read("cifar10", tmp_path)


def test_svhn_mat(tmp_path, monkeypatch):
    images = write_svhn(tmp_path, monkeypatch)
    assert everything(read("svhn", tmp_path)) == multiset(images)


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_idx_files_or_their_archives(tmp_path, monkeypatch, zipped):
    images = write_fashion_mnist(tmp_path, monkeypatch, zipped=zipped)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    assert dict(listing(tmp_path))["fashion-mnist"] == "there"
    data = read("fashion-mnist", tmp_path)
    assert everything(data) == multiset(images[:, None])
    assert data.image_shape == (1, 28, 28)


def test_a_torn_fashion_mnist_file_is_refused(tmp_path, monkeypatch):
    write_fashion_mnist(tmp_path, monkeypatch)
    file = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with refused("fashion-mnist", file.parent, "move them elsewhere", "github.com/zalandoresearch"):
        read("fashion-mnist", tmp_path)


def test_other_images_in_fashion_mnist_files_are_refused(tmp_path, monkeypatch):
    """Noise of the right form, and the two splits exchanged."""
    write_fashion_mnist(tmp_path, monkeypatch)
    train, t10k = (tmp_path / "FashionMNIST" / "raw" / f"{part}-images-idx3-ubyte" for part in ("train", "t10k"))
    good = train.read_bytes()
    train.write_bytes(good[:16] + bytes(len(good) - 16))
    with refused("fashion-mnist", "train-images-idx3-ubyte: not the published files", "move them elsewhere"):
        read("fashion-mnist", tmp_path)
    train.write_bytes(t10k.read_bytes())
    t10k.write_bytes(good)
    with refused("fashion-mnist", "train-images-idx3-ubyte, t10k-images-idx3-ubyte: not the published files"):
        read("fashion-mnist", tmp_path)
    train.write_bytes(good)
    with refused("fashion-mnist", ": not the published files"):
        read("fashion-mnist", tmp_path)


def no_network(*args, **options):
    raise urllib.error.URLError("no network")


class Response(io.BytesIO):
    """What urlopen gives: `length` may promise more than there is."""

    def __init__(self, data: bytes, url: str):
        super().__init__(data)
        self.url, self.length = url, len(data)


@pytest.mark.parametrize(
    ("name", "file", "place", "page"),
    [
        ("fashion-mnist", "train-images-idx3-ubyte", "FashionMNIST/raw", "github.com/zalandoresearch/fashion-mnist"),
        ("cifar10", "data_batch_1", "cifar-10-batches-py", "www.cs.toronto.edu/~kriz/cifar.html"),
        ("svhn", "train_32x32.mat", "", "ufldl.stanford.edu/housenumbers"),
    ],
)
def test_a_failed_download_is_one_quiet_line_and_leaves_nothing(tmp_path, monkeypatch, capfd, name, file, place, page):
    root = tmp_path / "data"
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with refused(name, "no network", file, root / place, page):
        load(name, root)
    monkeypatch.setattr(urllib.request, "urlopen", lambda request: Response(b"half", request.full_url))
    with refused(name, file, root / place, page):  # a checksum that does not match
        read(name, root)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert dict(listing(root))[name] == "can be downloaded"


def test_a_download_is_moved_into_place_whole(tmp_path, monkeypatch):
    images = write_cifar10(tmp_path / "web", monkeypatch)
    archive = pack_cifar10(tmp_path / "web", monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", lambda request: Response(archive, request.full_url))
    assert everything(read("cifar10", tmp_path / "data")) == multiset(images)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    assert everything(read("cifar10", tmp_path / "data")) == multiset(images)
    assert os.listdir(tmp_path / "data") == ["cifar-10-batches-py"]


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path, monkeypatch):
    images = write_cifar10(tmp_path / "web", monkeypatch)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(pack_cifar10(tmp_path / "web", monkeypatch))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    assert everything(read("cifar10", tmp_path)) == multiset(images)
