"""A training script that knows nothing of probes: what is found in it, when it ends, and what it is told."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data.dataloader import _BaseDataLoaderIter

from vgdocs.probe import script as scripts

SET_UP = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = torch.randn(64, 8), torch.randint(3, (64,))
data = TensorDataset(x, y)


def net(width=16, out=3):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, out))


def step(model, optimizer, x=x, y=y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
EPOCHS = """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(5):
    for a, b in DataLoader(data, 16):
        step(model, optimizer, a, b)
    print("epoch", epoch)
"""
LIGHTNING = """
import warnings

warnings.simplefilter("ignore")
import pytorch_lightning


class Module(pytorch_lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net()

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


silent = dict(enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, logger=False)
loader = DataLoader(data, 16)
pytorch_lightning.Trainer(max_epochs=5, accelerator="cpu", **silent).fit(Module(), loader, loader)
"""
TRANSFORMERS = """
import warnings

warnings.simplefilter("ignore")
from transformers import Trainer, TrainingArguments


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x, labels):
        return {"loss": nn.functional.cross_entropy(self.net(x), labels)}


quiet = dict(report_to="none", save_strategy="no", disable_tqdm=True)
arguments = TrainingArguments("out", num_train_epochs=5, per_device_train_batch_size=16, use_cpu=True, **quiet)
Trainer(Model(), arguments, train_dataset=[{"x": a, "labels": b} for a, b in data]).train()
"""


@pytest.fixture
def write(tmp_path):
    def write(source: str, set_up: str = SET_UP) -> Path:
        path = tmp_path / "train.py"
        path.write_text(set_up + textwrap.dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture
def watch(write):
    """Runs a script with probes on what it trains."""
    return lambda source, *arguments, **options: scripts.run(write(source), arguments, **options)


@pytest.fixture
def command(write, tmp_path):
    """Runs `python -m vgdocs diagnose` on a script, as a process of its own."""

    def command(source: str, *arguments: str, start=subprocess.run, set_up: str = SET_UP, **options):
        path = os.pathsep.join([str(Path(scripts.__file__).parents[2]), *sys.path])
        line = [sys.executable, "-m", "vgdocs", "diagnose", str(write(source, set_up).name), *arguments]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return start(line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, **options)

    return command


def seen(run) -> list[tuple[str, tuple[str, ...], int]]:
    return [(one.name, one.optimizers, len(one.record)) for one in run.watched]


class TestFound:
    """The models that are watched, by what they are called in the script, and what steps them."""

    def test_one_model(self, watch):
        run = watch(EPOCHS)
        assert seen(run) == [("model (Sequential)", ("SGD",), 20)]
        assert (run.notes, run.code) == ([], 0)

    def test_the_first_forward_pass_is_seen(self, watch):
        (one,) = watch("model = net()\nstep(model, torch.optim.SGD(model.parameters(), lr=0.1))").watched
        assert [row["calls"] for row in one.record.rows] == [1, 1, 1]
        assert all(row["activation_gradient"] for row in one.record.rows)

    def test_also_of_a_layer_that_is_called_by_itself(self, watch):
        """Its hooks are looked up when it is called, so that it is too late to add one then."""
        (one,) = watch("""
            rnn, head = nn.RNN(8, 16), nn.Linear(16, 3)
            optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
            loss = nn.functional.cross_entropy(head(rnn(torch.randn(12, 4, 8))[0][-1]), torch.randint(3, (4,)))
            loss.backward()
            optimizer.step()
        """).watched
        assert (one.name, len(one.record)) == ("rnn and head", 1)
        assert len(one.record.time_rows) == 12

    def test_two_networks_that_play_against_each_other(self, watch):
        run = watch("""
            generator, critic = net(out=8), net(out=1)
            of_generator = torch.optim.Adam(generator.parameters(), lr=1e-3)
            of_critic = torch.optim.Adam(critic.parameters(), lr=1e-3)
            bce = nn.functional.binary_cross_entropy_with_logits
            for _ in range(12):
                of_critic.zero_grad()
                fake = generator(torch.randn(64, 8))
                (bce(critic(x), torch.ones(64, 1)) + bce(critic(fake.detach()), torch.zeros(64, 1))).backward()
                of_critic.step()
                of_generator.zero_grad()
                bce(critic(fake), torch.ones(64, 1)).backward()
                of_generator.step()
        """)
        assert seen(run) == [("generator (Sequential)", ("Adam",), 12), ("critic (Sequential)", ("Adam",), 12)]
        assert [one.verdict.findings for one in run.watched] == [(), ()]

    def test_two_that_are_parts_of_one_module(self, watch):
        run = watch("""
            class Both(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.one, self.other = net(), net()

            both = Both()
            optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (both.one, both.other)]
            for _ in range(3):
                step(both.one, optimizers[0])
                step(both.other, optimizers[1])
        """)
        assert [len(one.record) for one in run.watched] == [3, 3]
        assert [one.record.layers[0].name for one in run.watched] == ["0", "0"]

    def test_two_optimizers_for_one_network(self, watch):
        """Muon for matrices and Adam for the rest: neither is told that it holds too little."""
        run = watch("""
            model = net()
            matrices = torch.optim.SGD([p for p in model.parameters() if p.dim() > 1], lr=0.1)
            rest = torch.optim.Adam([p for p in model.parameters() if p.dim() < 2])
            for _ in range(10):
                matrices.zero_grad(), rest.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                matrices.step(), rest.step()
        """)
        assert seen(run) == [("model (Sequential)", ("SGD", "Adam"), 10)]
        assert run.watched[0].verdict.findings == ()

    def test_a_model_of_which_the_optimizer_holds_a_part(self, watch):
        (one,) = watch("""
            model = net()
            optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
            for _ in range(10):
                step(model, optimizer)
        """).watched
        assert [finding.cause for finding in one.verdict.findings] == ["not in the optimizer"]

    def test_a_loop_without_modules_for_activations(self, watch):
        (one,) = watch("""
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)

                def forward(self, x):
                    return self.b(nn.functional.relu(self.a(x)))

            model = Net()
            optimizer = torch.optim.AdamW(model.parameters())
            for _ in range(10):
                step(model, optimizer)
        """).watched
        assert (one.name, len(one.record), one.verdict.findings) == ("model (Net)", 10, ())

    def test_a_closure(self, watch):
        (one,) = watch("""
            model = net()
            optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

            def closure():
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                return loss

            for _ in range(4):
                optimizer.step(closure)
        """).watched
        assert (one.optimizers, len(one.record)) == (("LBFGS",), 4)

    def test_a_compiled_model_is_run_as_it_was(self, watch):
        run = watch("""
            model = net()
            fast = torch.compile(model)
            optimizer = torch.optim.SGD(fast.parameters(), lr=0.1)
            for _ in range(3):
                step(fast, optimizer)
        """)
        assert run.notes == [scripts.EAGER]
        (one,) = run.watched
        assert (one.name, one.record.layers[0].name, one.record.notes) == ("model (Sequential)", "0", [])
        assert all(row["calls"] for row in one.record.rows)

    def test_a_scaler_is_taken_into_account(self, watch):
        (one,) = watch("""
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
            for _ in range(3):
                optimizer.zero_grad()
                scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()
        """).watched
        assert all(0.5 < row["loss"] < 2 for row in one.record.step_rows)

    def test_an_optimizer_that_was_replaced_before_it_stepped(self, watch):
        run = watch("""
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            optimizer = torch.optim.Adam(model.parameters())
            step(model, optimizer)
        """)
        assert seen(run) == [("model (Sequential)", ("Adam",), 1)]

    def test_one_phase_after_another(self, watch):
        run = watch("""
            model = net()
            for lr in (0.1, 0.01):
                optimizer = torch.optim.SGD(model.parameters(), lr=lr)
                for _ in range(4):
                    step(model, optimizer)
        """)
        assert [len(one.record) for one in run.watched] == [4, 4]
        assert [one.record.step_rows[0]["lr"] for one in run.watched] == [0.1, 0.01]

    def test_a_model_that_cannot_be_watched_is_told(self, watch):
        run = watch("""
            model = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 3))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            model(x)
            step(model, optimizer)
        """)
        assert run.watched == []
        assert "was not watched: the model has lazy layers" in run.notes[0]


class TestUnchanged:
    def test_the_script_trains_to_the_same_bits(self, write, tmp_path):
        path = write(EPOCHS + f"torch.save(model.state_dict(), {str(tmp_path / 'weights.pt')!r})\n")
        trained = []
        for run in (lambda: subprocess.run([sys.executable, path], check=True), lambda: scripts.run(path)):
            run()
            trained.append(torch.load(tmp_path / "weights.pt"))
        for name, weights in trained[0].items():
            assert torch.equal(weights, trained[1][name]), name

    def test_nothing_stays_behind(self, watch):
        def patched():
            hooks = sys.modules["torch.optim.optimizer"]
            return [
                *(torch.optim.Optimizer.__init__, nn.Module.__call__, _BaseDataLoaderIter.__next__, torch.compile),
                *(len(hooks._global_optimizer_pre_hooks), len(hooks._global_optimizer_post_hooks)),
                *(torch.autograd.backward, list(sys.argv), sys.path[0], sys.modules["__main__"]),
            ]

        before = patched()
        watch("torch.compile(net())\n" + EPOCHS + "torch.optim.SGD(model.parameters())\nraise SystemExit(3)", steps=7)
        assert patched() == before

    def test_it_sees_what_it_would_see(self, command):
        done = command(
            """
            import sys
            from beside import VALUE
            print(sys.argv[1:], __name__, VALUE, sys.modules["__main__"].VALUE)
            """,
            *("--", "--lr", "0.1", "-v"),
            set_up="open('beside.py', 'w').write('VALUE = 7')\n",
        )
        assert done.stdout.startswith("['--lr', '0.1', '-v'] __main__ 7 7\n")


class TestEnds:
    def test_after_so_many_steps(self, watch):
        (one,) = watch(EPOCHS, steps=7).watched
        assert one.record.steps == list(range(7))

    def test_after_so_many_epochs_with_what_ends_the_last(self, watch, capsys):
        run = watch(EPOCHS, epochs=2)
        assert len(run.watched[0].record) == 8
        assert capsys.readouterr().out == "epoch 0\nepoch 1\n"
        assert run.settings["Epochs seen"] == "2"

    def test_a_validation_is_no_epoch(self, watch):
        run = watch(
            """
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            validation, training = DataLoader(data, 64), iter(DataLoader(data, 16))
            for epoch in range(5):
                for a, b in validation:
                    model(a)
                for a, b in DataLoader(data, 16):
                    step(model, optimizer, a, b)
            """,
            epochs=3,
        )
        assert len(run.watched[0].record) == 12

    @pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
    def test_a_loader_may_be_kept_and_asked_again(self, watch, workers):
        """With persistent workers one iterator serves every pass."""
        run = watch(
            f"""
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            loader = DataLoader(data, 16, num_workers={workers}, persistent_workers={workers > 0})
            for epoch in range(4):
                for a, b in loader:
                    step(model, optimizer, a, b)
            """,
            epochs=2,
        )
        assert len(run.watched[0].record) == 8

    def test_one_batch_of_a_loader_is_no_epoch(self, watch):
        run = watch(
            """
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(10):
                step(model, optimizer, *next(iter(DataLoader(data, 16))))
            """,
            epochs=1,
        )
        assert len(run.watched[0].record) == 10
        assert "Epochs seen" not in run.settings

    @pytest.mark.parametrize("loop", [LIGHTNING, TRANSFORMERS], ids=["lightning", "transformers"])
    def test_loops_that_fetch_ahead(self, watch, loop):
        run = watch(loop, epochs=2)
        assert [len(one.record) for one in run.watched] == [8]
        assert run.settings["Epochs seen"] == "2"

    def test_epochs_without_a_loader_are_told_at_once_and_end_nothing(self, watch):
        told = []
        run = watch(
            """
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(6):
                step(model, optimizer)
            """,
            epochs=1,
            tell=told.append,
        )
        assert told == [scripts.NO_LOADER]
        assert len(run.watched[0].record) == 6

    def test_no_handler_of_the_scripts_stops_it(self, watch, capsys):
        run = watch(
            """
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(6):
                try:
                    step(model, optimizer)
                except Exception:
                    print("handled")
            """,
            steps=2,
        )
        assert (len(run.watched[0].record), run.code) == (2, 0)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("source", ["", "w = net()[0].weight\nw.sum().backward()\nw.data -= w.grad"])
    def test_without_an_optimizer_there_is_nothing_to_diagnose(self, watch, source):
        run = watch(source)
        assert run.empty
        assert run.notes == [scripts.NO_STEP]

    def test_an_optimizer_that_never_stepped_is_told(self, watch):
        run = watch("""
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            model(x).sum().backward()
        """)
        assert run.empty
        assert run.notes == [scripts.NEVER_STEPPED]

    def test_an_optimizer_of_no_module_is_told(self, watch):
        run = watch("""
            w = torch.zeros(3, requires_grad=True)
            optimizer = torch.optim.SGD([w], lr=0.1)
            w.sum().backward()
            optimizer.step()
        """)
        assert run.empty
        assert run.notes == [scripts.NO_MODULE]


class TestExit:
    FAILS = EPOCHS.replace("print", "1 / (1 - epoch); print")

    def test_an_exception_is_told_as_python_does_and_then_the_verdict(self, command, write, tmp_path):
        done = command(self.FAILS)
        plain = subprocess.run([sys.executable, write(self.FAILS).name], cwd=tmp_path, capture_output=True, text=True)
        assert done.stderr == plain.stderr
        assert "ZeroDivisionError" in done.stderr
        assert done.returncode == plain.returncode == 1
        assert "model (Sequential), 8 steps of SGD" in done.stdout

    @pytest.mark.parametrize(
        ("statement", "code", "error"),
        [("sys.exit()", 0, ""), ("sys.exit(3)", 3, ""), ("sys.exit('no data')", 1, "no data\n")],
    )
    def test_an_exit_of_the_scripts_own(self, watch, capsys, statement, code, error):
        run = watch(f"import sys\n{EPOCHS}{statement}\n")
        assert (run.code, capsys.readouterr().err) == (code, error)
        assert len(run.watched[0].record) == 20

    @pytest.mark.parametrize(
        ("source", "error"),
        [("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"), ("for", "SyntaxError: invalid syntax")],
    )
    def test_an_error_before_anything_ran(self, watch, capsys, source, error):
        run = watch(source)
        assert (run.code, run.notes) == (1, [scripts.ENDED_EARLY])
        told = capsys.readouterr().err
        assert told.splitlines()[-1] == error
        assert told.count('File "') == 1

    @pytest.mark.posix(reason="an interrupt is sent")
    def test_an_interrupt(self, command):
        endless = EPOCHS.replace("range(5)", "iter(int, 1)").replace('print("epoch", epoch)', "print(flush=True)")
        process = command(endless, start=subprocess.Popen)
        process.stdout.readline()  # of the first epoch
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 130
        assert errors.endswith("KeyboardInterrupt\n")
        assert "steps of SGD" in output
        assert "What this record cannot show" in output


def test_an_option_of_the_scripts_own_is_told_where_it_stands(command):
    done = command(EPOCHS, "--lr", "0.1")
    assert done.returncode == 2
    assert "No such option '--lr'" in done.stderr
    assert "after `--`" in done.stderr


def test_the_command_writes_a_report_and_tells_addresses(command, tmp_path):
    sick = "model = net(width=1000)\nmodel[0].weight.data.zero_()\n" + EPOCHS.replace("model = net()\n", "")
    done = command(sick, "--report", "report.html", "--site", "http://localhost:8000/", "--steps", "9")
    assert (done.returncode, done.stderr) == (0, "")
    assert "See: http://localhost:8000/" in done.stdout
    text = (tmp_path / "report.html").read_text("utf-8")
    assert '<h1 class="grown">Diagnosis of train.py</h1>' in text
    assert 'href="http://localhost:8000/' in text
    assert str(tmp_path) not in text  # whoever gets it needn't know
