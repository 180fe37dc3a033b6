"""Records on disk: found by their keys, never half written, never trusted blindly."""

import errno
import os
import platform
import threading

import pytest
from filelock import FileLock

from vgdocs.engine import observe
from vgdocs.engine import store as stores
from vgdocs.engine.record import FORMAT, Keys, Record
from vgdocs.engine.store import Store, StoreError

KEYS = Keys("a" * 64, "c" * 64)
MADE = "2026-01-02T03:04:05+00:00"


HERE = {"python": platform.python_version()}


def make_record(last: float = 0.5, keys: Keys = KEYS, versions=HERE, made: str = MADE, inputs=()) -> Record:
    plot = {"data": [{"type": "scatter", "y": [0.5]}], "layout": {}}
    return Record("halving", 0, "cpu", keys, {"last": last}, plot, (), dict(inputs), versions, made, 0.1)


NAME = f"{make_record().place}.json"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_there_and_back(store):
    store.save(make_record())
    assert store.find("halving", KEYS) == make_record()
    assert files(store) == [NAME]


def test_another_measurement_is_not_found(store):
    store.save(make_record())
    assert store.find("halving", Keys("d" * 64, "c" * 64)) is None


def test_other_versions_are_found_only_where_any_will_do(store):
    store.save(make_record(versions={"python": "2.7"}))
    assert store.find("halving", KEYS) is None
    assert store.find("halving", KEYS, any_versions=True)


def test_other_inputs_are_not_found(store):
    table = store.root / "table.csv"
    table.write_text("1")
    inputs = observe.Watch(store.root)
    inputs.note(table)
    store.save(make_record(inputs=inputs.inputs))
    assert store.find("halving", KEYS)
    table.write_text("2")
    assert store.find("halving", KEYS, any_versions=True) is None
    table.write_text("1")
    assert store.find("halving", KEYS)


def test_new_claims_are_found_under_the_old_measurement(store):
    store.save(make_record())
    assert store.find("halving", Keys(KEYS.measure, "d" * 64)) == make_record()


def test_an_empty_store_finds_nothing(store):
    assert store.find("halving", KEYS) is None
    assert store.find("halving", KEYS, any_versions=True) is None


def test_the_newest_record_is_the_one_that_was_measured_last(store):
    for day, versions in ((2, "d"), (3, "e"), (1, "f")):
        record = make_record(float(day), versions={"python": versions}, made=f"2026-01-0{day}T00:00:00+00:00")
        store.save(record)
        os.utime(store.folder / f"records/halving/{record.place}.json", (1000 - day, 1000 - day))  # as copying does
    store.save(make_record(4.0, Keys("0" * 64, "c" * 64)))  # of another measurement
    assert store.find("halving", KEYS, any_versions=True).measured == {"last": 3.0}


def test_only_the_newest_records_of_a_measurement_are_kept(store):
    for day in range(1, 12):
        store.save(make_record(versions={"python": str(day)}, made=f"2026-01-{day:02}T00:00:00+00:00"))
    assert len(files(store)) == stores.KEPT
    assert store.find("halving", KEYS, any_versions=True).versions == {"python": "11"}


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
    assert store.find("halving", KEYS, any_versions=True) is None
    assert f"{path.name} is damaged and will be measured again" in caplog.text
    store.save(make_record())
    assert store.find("halving", KEYS) == make_record()


@pytest.mark.parametrize("place", [f"other/{NAME}", f"halving/{'d' * 20}{NAME[20:]}"])
def test_a_record_in_the_wrong_place_counts_as_none(store, place):
    store.save(make_record())
    (path,) = store.folder.rglob("*.json")
    os.renames(path, store.folder / "records" / place)
    name, _, file = place.partition("/")
    assert store.find(name, Keys(file[:20] + "x" * 44, "c" * 64)) is None


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
    assert files(store) == [NAME]


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
