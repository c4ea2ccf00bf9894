"""What objects show of themselves, against their numbers."""

import dataclasses
import html.parser
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import jepa_sim as js
from jepa_sim.data.moments import SHOWN
from jepa_sim.numerics.display.numbers import described, listed
from jepa_sim.numerics.display.sheet import HTML_ROWS, Sheet
from tests.problems import non_commuting, two_features

COUNT = 40
SIDES = ["text-align: right", "text-align: left"]


def many_features():
    return js.Moments.from_features(np.linspace(1, 2, COUNT), np.linspace(0.9, 0.1, COUNT))


def moved(**training):
    target = js.JEPA(js.MovingAverage(5.0))
    start = js.Unbalanced(0.01, 0.2, rotated=True)
    return js.Problem(
        many_features(), target, js.DeepLinear(3, width=20), start, js.Training(**training)
    )


def grid():
    return js.Grid(
        spectrum=[many_features()] * 2,
        objective=[js.JEPA(), js.MAE(), js.JEPA(js.MovingAverage(3.0))],
        depth=range(1, 9),
        scale=np.geomspace(1e-4, 1e-1, 20),
        seed=range(3),
        axes={"weight_decay": [0, 0.1]},
    )


def run_of(problem, solver=None):
    return js.simulate(problem, [1.0, 100.0, 1000.0], solver or js.ClosedForm())


def plain(moments, depth=3):
    return js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(1e-2))


def cells(text, columns):
    """The numbers of the table of a sheet, by rows."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:1] == ["feature"])
    rows = [line.split()[:columns] for line in lines[head + 1 :] if "more" not in line]
    return np.array(rows, dtype=float)


class Tables(html.parser.HTMLParser):
    """The rows of a table: cells with their styles."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(["", dict(attrs)["style"]])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.rows[-1][-1][0] += data


MAKERS = {
    "moments": many_features,
    "features": lambda: many_features().features(),
    "problem": lambda: moved(encoder_rate=2.0, decay=1e-3),
    "trajectory": lambda: run_of(plain(many_features())),
    "trust": lambda: run_of(plain(two_features())).trust,
    "diagnosis": lambda: js.diagnose(run_of(plain(many_features()))),
    "grid": grid,
    "plan": lambda: js.plan(grid(), js.GradientFlow(rtol=1e-6)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_all_fit_a_screen_in_text_and_are_tables_in_notebooks(make):
    shown = make()
    for text in (repr(shown), str(shown)):
        assert len(text.splitlines()) <= 20
        assert max(map(len, text.splitlines())) <= 100
    rows = Tables(shown._repr_html_()).rows
    title, *_ = repr(shown).splitlines()
    assert rows[0][0][0] == title


def test_numbers_are_those_of_the_objects():
    problem = plain(non_commuting(3))
    features = problem.features
    expected = np.stack([np.arange(3), features.lam, features.rho, features.variance], axis=1)
    np.testing.assert_allclose(cells(repr(problem.moments), 4), expected, rtol=1e-3)
    np.testing.assert_allclose(cells(repr(features), 4), expected, rtol=1e-3)
    np.testing.assert_allclose(cells(repr(features), 5)[:, 4], features.target_variance, rtol=1e-3)
    with_plateau = np.column_stack([expected, problem.plateaus])
    np.testing.assert_allclose(cells(repr(problem), 5), with_plateau, rtol=1e-3)
    run = run_of(plain(two_features()))
    seen = cells(repr(run), 6)
    np.testing.assert_allclose(seen[:, 4], run.problem.plateaus, rtol=1e-3)
    np.testing.assert_allclose(seen[:, 5], run.features[-1], rtol=1e-3)
    diagnosis = js.diagnose(run)
    found = [f[:4] for f in diagnosis.findings]
    np.testing.assert_allclose(cells(repr(diagnosis), 4), found, rtol=1e-3)


def test_what_differs_from_the_default_is_said_and_nothing_else():
    text = repr(moved(encoder_rate=2.0, decay=1e-3))
    for words in (
        "JEPA(target=MovingAverage(time_constant=5)), L = 3, M = 1, 40 features",
        "Unbalanced(imbalance=0.2, rotated=True), ε = 0.01",
        "Training(encoder_rate=2, encoder_decay=0.001, predictor_decay=0.001)",
    ):
        assert words in text
    assert re.search(r"hidden width +20\n", text)
    text = repr(plain(two_features()))
    assert "Balanced, ε = 0.01" in text
    assert "raining" not in text
    assert "width" not in text


@pytest.mark.parametrize(
    ("sizes", "network"),
    [
        ([2], js.DeepLinear(2)),  # too few factors
        ([3], js.DeepLinear(1)),  # of another dimension
        ([2], js.DeepLinear(1, width=1)),
    ],
)
def test_a_start_that_does_not_fit_is_said_in_the_words_of_simulate(sizes, network):
    start = js.Given([0.1 * np.eye(n) for n in sizes], [0.1 * np.eye(sizes[-1])])
    problem = js.Problem(two_features(), js.JEPA(), network, start)
    with pytest.raises(ValueError, match="start") as refused:
        js.simulate(problem, [1.0], js.GradientFlow())
    shown = repr(problem)
    assert str(refused.value) in " ".join(shown.split())
    assert "plateau" not in shown
    assert html.escape(str(refused.value)) in problem._repr_html_()


def test_plateaus_that_are_not_known_are_explained():
    start = js.Given([0.1 * np.eye(1, 2)], [0.1 * np.eye(1)])
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(1, width=1), start)
    assert np.isnan(np.asarray(problem.plateaus)).any()
    assert "plateau nan" in repr(problem)
    assert "plateau nan" not in repr(plain(two_features()))


def test_of_many_rows_the_first_are_shown_and_the_rest_counted():
    text = repr(moved())
    shown = len(cells(text, 5))
    assert 0 < shown < COUNT
    assert text.endswith(f"… and {COUNT - shown} more")
    rows = Tables(Sheet("many", columns={"n": list(range(50))}).html()).rows
    assert rows[-1][0][0] == f"… and {50 - HTML_ROWS} more"
    assert len(rows) == HTML_ROWS + 3  # title, headings, what is left out


def test_features_of_large_moments_are_not_solved_for():
    large = js.Moments(np.eye(SHOWN + 1), np.eye(SHOWN + 1) / 2)
    for thing in (large, plain(large)):
        assert repr(thing).endswith("solves for them")


def test_html_is_escaped_and_numbers_are_right_aligned():
    sheet = Sheet("<b>", {"a<b": "<script>"}, {"n": [1.5], "what": ["x & <y>"]})
    assert "<script>" not in sheet.html()
    title, fact, heads, row = Tables(sheet.html()).rows
    assert [cell[0] for cell in (*title, *fact, *row)] == [
        "<b>",
        "a<b",
        "<script>",
        "1.5",
        "x & <y>",
    ]
    assert [style.split(";")[0] for _, style in row] == SIDES
    assert [style.split(";")[0] for _, style in heads] == SIDES


def twice(thing):
    """With a leading axis, as `vmap` makes it."""
    return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), thing)


def test_several_and_traced_ones_print_a_line():
    def seen(thing):
        for text in (repr(thing), str(thing)):
            assert len(text.splitlines()) == 1, text
            assert len(text) <= 100
            assert text.startswith(type(thing).__name__)
        assert thing._repr_html_().startswith("<div><table>")

    problem = plain(two_features())
    run = run_of(problem)
    scales = eqx.tree_at(lambda p: p.start.scale, problem, jnp.array([0.1, 0.2]))
    rates = eqx.tree_at(lambda p: p.training.encoder_rate, problem, jnp.array([1.0, 2.0]))
    several = map(twice, (problem, problem.moments, problem.features, run, run.trust))
    for thing in (*several, scales, rates):
        seen(thing)
    assert "xx=float64[2,2,2]" in repr(twice(problem.moments))
    for thing in (problem, problem.moments, problem.features, run, run.trust):
        eqx.filter_jit(seen)(thing)
        seen(eqx.filter_eval_shape(lambda x=thing: x))
        seen(jax.tree.map(lambda _: False, thing))  # as filters of equinox have it
    jax.jit(lambda x: repr(problem) and x)(1.0)  # known, inside of a program

    def seen_grid(moments):
        made = js.Grid(spectrum=moments, objective=[js.JEPA()])
        seen(made)
        seen(js.plan(made, js.ClosedForm()))

    eqx.filter_jit(seen_grid)(problem.moments)
    # what is printed computes nothing in the program
    assert not jax.make_jaxpr(lambda p: (repr(p), p.moments.xx)[1])(problem).eqns


@pytest.mark.slow
def test_a_run_says_which_method_ran_and_why():
    problem = plain(two_features())
    short, long = (
        js.simulate(problem, times, js.GradientFlow()) for times in ([1.0, 1e3], [1.0, 1e4])
    )
    for run, method, sign in ((short, "Tsit5", "≤"), (long, "ROCK4", ">")):
        # the fastest rate of the flow u̇ = u^a (λ − σ² u^b) at rest is b λ u*^{a−1}
        lam, rho = problem.features.lam, problem.features.rho
        predicted = np.max(lam * rho**5) * run.times[-1]
        words = f"GradientFlow({method}): predicted {predicted:,.0f} relaxation times {sign} 1,000"
        assert words in repr(run)
        assert int(run.stats["steps"]) == int(
            re.search(r"([\d,]+) steps", repr(run))[1].replace(",", "")
        )
        assert run.to_xarray().steps == run.stats["steps"]
    # so that runs can be stacked
    assert jax.tree.structure(short.solver) == jax.tree.structure(long.solver)
    given = js.simulate(problem, [1.0, 1e4], js.GradientFlow(js.ROCK4()))
    assert str(given.solver) == "GradientFlow(ROCK4)"
    unknown = dataclasses.replace(long.solver, relaxations=jnp.array(0.0))
    assert str(unknown).startswith("GradientFlow(Tsit5): the objective has no reduced flow")
    traced = eqx.filter_eval_shape(run_of, problem, js.GradientFlow())
    assert "GradientFlow(Tsit5): the problem was traced" in str(traced.solver)
    sgd = eqx.filter_eval_shape(run_of, problem, js.Descent(optax.sgd, 0.1))
    assert str(sgd.solver) == "Descent(sgd)"


def gram(t, state, problem):
    return state.gram(problem.features)


@pytest.mark.slow
def test_a_run_is_a_dataset_with_the_labels_of_a_sweep(tmp_path):
    problem = plain(two_features())
    saved = (js.observables.features, js.observables.loss, gram, js.observables.weights)
    times = [1.0, 100.0, 1000.0]
    solver = js.ClosedForm()
    run = js.simulate(problem, times, solver, observables=saved)
    one = run.to_xarray()
    swept = js.sweep(
        js.Grid(spectrum=two_features(), objective=[js.JEPA()], depth=[3], scale=[1e-2]),
        solver,
        times=times,
        observables=saved[:3],
        progress=False,
    )
    lanes = [name for name in swept.dims if name in swept.coords and name != "feature"]
    lanes.remove("critical_fraction")
    alone = swept.isel(dict.fromkeys(lanes, 0))
    for name in ("features", "loss", "gram", "plateau", "lam", "rho", "t", "result"):
        assert one[name].dims == alone[name].dims, name
        np.testing.assert_allclose(one[name], alone[name], rtol=1e-6)
        np.testing.assert_equal(one[name].attrs, alone[name].attrs)
    np.testing.assert_array_equal(one.features, run.features)
    np.testing.assert_array_equal(one["weights.log_u"], run["weights"].log_u)
    assert one.attrs["solver"] == str(run.solver)
    one.to_netcdf(tmp_path / "run.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "run.nc"), one)
    with pytest.raises(ValueError, match="Argument `run` must be one trajectory"):
        twice(run).to_xarray()


def test_short_words():
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(10)) == "0, 1, 2, 3, 4, … 9"
    assert described(js.DeepLinear(3)) == "DeepLinear(depth=3)"
    assert described(js.MAE()) == "MAE"


def test_equilibria_show_their_numbers():
    found = plain(two_features()).equilibria
    table = cells(str(found), 4)
    expected = np.column_stack([np.arange(2), found.threshold, found.stable, found.edge])
    np.testing.assert_allclose(np.array(table, float), expected, rtol=1e-3)
    assert "<table>" in found._repr_html_()
