"""Records on disk: found by their keys, never half written, never trusted blindly."""

import errno
import os
import threading

import pytest
from filelock import FileLock

from vgdocs import store as stores
from vgdocs.record import FORMAT, Keys, Record
from vgdocs.store import Store, StoreError

KEYS = Keys("a" * 64, "b" * 64, "c" * 64)


def make_record(keys: Keys = KEYS, last: float = 0.5) -> Record:
    plot = {"data": [{"type": "scatter", "y": [0.5]}], "layout": {}}
    return Record("halving", 0, "cpu", keys, {"last": last}, plot, (), {"python": "3.11"}, 0.1)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_there_and_back(store):
    store.save(make_record())
    assert store.find("halving", KEYS) == make_record()
    assert files(store) == ["aaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbb.json"]


@pytest.mark.parametrize("keys", [Keys("d" * 64, "b" * 64, "c" * 64), Keys("a" * 64, "d" * 64, "c" * 64)])
def test_another_measurement_or_environment_is_not_found(store, keys):
    store.save(make_record())
    assert store.find("halving", keys) is None


def test_new_claims_are_found_under_the_old_measurement(store):
    store.save(make_record())
    assert store.find("halving", Keys(KEYS.measure, KEYS.environment, "d" * 64)) == make_record()


def test_an_empty_store_finds_nothing(store):
    assert store.find("halving", KEYS) is None
    assert store.newest("halving", KEYS) is None


def test_the_newest_record_of_any_environment(store):
    for age, (environment, last) in enumerate([("d", 3.0), ("e", 1.0), ("f", 2.0)]):
        keys = Keys(KEYS.measure, environment * 64, KEYS.script)
        store.save(make_record(keys, last))
        os.utime(next(store.folder.rglob(f"*-{environment * 12}.json")), (1000 - age, 1000 - age))
    store.save(make_record(Keys("0" * 64, "b" * 64, "c" * 64), 4.0))  # of another measurement
    assert store.newest("halving", KEYS).measured == {"last": 3.0}


def test_records_of_another_machine_are_merged_by_copying_files(store, tmp_path):
    other = Store(tmp_path / "other")
    other.save(make_record())
    os.renames(other.folder, store.folder)
    assert store.find("halving", KEYS) == make_record()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff\xfe" + data,
        lambda data: b'{"name": "halving"}',
        lambda data: data.replace(b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT + 1)),
    ],
)
def test_a_damaged_record_counts_as_none_and_is_told(store, caplog, damage):
    store.save(make_record())
    (path,) = store.folder.rglob("*.json")
    path.write_bytes(damage(path.read_bytes()))
    assert store.find("halving", KEYS) is None
    assert store.newest("halving", KEYS) is None
    assert f"{path.name} is damaged and will be measured again" in caplog.text
    store.save(make_record())
    assert store.find("halving", KEYS) == make_record()


@pytest.mark.parametrize(
    "place", ["other/aaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbb.json", "halving/dddddddddddddddddddd-bbbbbbbbbbbb.json"]
)
def test_a_record_in_the_wrong_place_counts_as_none(store, place):
    store.save(make_record())
    (path,) = store.folder.rglob("*.json")
    os.renames(path, store.folder / "records" / place)
    name = place.partition("/")[0]
    assert store.find(name, Keys(place.partition("/")[2][:20] + "x" * 44, "b" * 64, "c" * 64)) is None


@pytest.mark.parametrize("call", ["mkstemp", "fdopen", "fsync", "replace"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_will_not_have_it_is_told_and_no_half_record_stays(store, monkeypatch, call, error):
    store.save(make_record(last=0.25))

    def fail(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    module = stores.tempfile if call == "mkstemp" else stores.os
    with monkeypatch.context() as patch:
        patch.setattr(module, call, fail)
        with pytest.raises(StoreError, match=f"the record of halving can't be kept in .*: .*{os.strerror(error)}"):
            store.save(make_record())
    assert store.find("halving", KEYS).measured == {"last": 0.25}  # what was there is still there
    assert files(store) == ["aaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbb.json"]


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("")
    store = Store(tmp_path / "store")
    assert store.find("halving", KEYS) is None
    with pytest.raises(StoreError, match="can't be kept"):
        store.save(make_record())
    with pytest.raises(StoreError, match="nothing can be kept"):
        store.lock("halving")


def test_readers_never_see_half_a_record(store, caplog):
    long = {"last": 0.5, "left": [0.1] * 20_000}
    store.save(make_record())
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append(store.find("halving", KEYS) is not None)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(20):
        record = make_record()
        store.save(Record(**{k: v for k, v in vars(record).items() if k != "numbers"} | {"measured": long}))
    done.set()
    for reader in readers:
        reader.join()
    assert all(seen)
    assert not caplog.text


def test_one_lock_a_figure(store):
    with store.lock("halving"):
        other = FileLock(store.lock("halving").lock_file, is_singleton=False)
        with pytest.raises(TimeoutError):
            other.acquire(timeout=0)
        with store.lock("doubling").acquire(timeout=0):
            pass
    other.acquire(timeout=0)
    other.release()


class TestDerived:
    def made(self, store, source: str = "x = 1") -> tuple[str, int]:
        """What is derived, and how often it had to be made."""
        calls = []
        return store.derived("code", source, lambda text: calls.append(text) or f"<b>{text}</b>"), len(calls)

    def test_it_is_made_once_for_each_text(self, store):
        assert [self.made(store), self.made(store)] == [("<b>x = 1</b>", 1), ("<b>x = 1</b>", 0)]
        assert self.made(store, "x = 2") == ("<b>x = 2</b>", 1)

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\xff", lambda data: b""])
    def test_a_damaged_one_is_made_again(self, store, damage):
        self.made(store)
        (path,) = store.folder.rglob("*.html")
        path.write_bytes(damage(path.read_bytes()))
        assert [self.made(store), self.made(store)] == [("<b>x = 1</b>", 1), ("<b>x = 1</b>", 0)]

    def test_where_nothing_can_be_kept_it_is_made_each_time(self, tmp_path):
        (tmp_path / "store").write_text("")
        store = Store(tmp_path / "store")
        assert [self.made(store), self.made(store)] == [("<b>x = 1</b>", 1)] * 2
