"""The stepping benchmark runs and reports both sides."""

from experiments.speed import stepping


def test_both_sides_are_measured_and_compared(capsys):
    config = stepping.SteppingConfig(
        ("Catch-bsuite",), num_envs=2, num_steps=16, loops=2, repeats=1
    )
    stepping.main(config)
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Catch-bsuite"] * 3
    speeds = [float(line.split(" million")[0].split()[-1]) for line in lines]
    assert all(speed > 0 for speed in speeds)
    assert lines[-1].endswith("ours / this 1.00")
