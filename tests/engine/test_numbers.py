"""How a measured number reads, in HTML and in plain text."""

import pytest

from vgdocs.engine.numbers import Formatted, count, fill, format_number


@pytest.mark.parametrize(
    ("value", "spec", "html", "text"),
    [
        (1.9e-9, ".1e", "1.9 × 10<sup>−9</sup>", "1.9 × 10⁻⁹"),
        (-1.9e-9, ".1e", "−1.9 × 10<sup>−9</sup>", "−1.9 × 10⁻⁹"),
        (6.02e23, ".2e", "6.02 × 10<sup>23</sup>", "6.02 × 10²³"),
        (1e-9, ".0e", "10<sup>−9</sup>", "10⁻⁹"),  # not 1 × 10⁻⁹
        (1e-9, ".1e", "1.0 × 10<sup>−9</sup>", "1.0 × 10⁻⁹"),  # the precision is meant
        (-1e-9, ".0e", "−1 × 10<sup>−9</sup>", "−1 × 10⁻⁹"),
        (9.96e-5, ".1e", "1.0 × 10<sup>−4</sup>", "1.0 × 10⁻⁴"),  # rounds up into the next power
        (1.5, ".1e", "1.5", "1.5"),  # not × 10⁰
        (0.0, ".1e", "0.0", "0.0"),
        (5e-324, ".0e", "5 × 10<sup>−324</sup>", "5 × 10⁻³²⁴"),
        (0.98765, "", "0.988", "0.988"),
        (0.5, "", "0.5", "0.5"),
        (1.23456e-7, "", "1.23 × 10<sup>−7</sup>", "1.23 × 10⁻⁷"),
        (2.0, "", "2", "2"),
        (1234567, "", "1234567", "1234567"),  # an integer is exact
        (1234567, ",", "1,234,567", "1,234,567"),
        (1234.5, ",.1f", "1,234.5", "1,234.5"),
        (0.12345, ".1%", "12.3%", "12.3%"),
        (-0.25, ".2f", "−0.25", "−0.25"),
        (0.25, "+.2f", "+0.25", "+0.25"),
        (3, "d", "3", "3"),
        (3, ".1f", "3.0", "3.0"),
    ],
)
def test_format(value, spec, html, text):
    assert format_number(value, spec) == Formatted(html, text)


@pytest.mark.parametrize("spec", ["x", ">8", "08.1f", ".2e}", "s", "_", ".123f", "2f", ".-1f"])
def test_a_spec_that_is_none_is_an_error(spec):
    with pytest.raises(ValueError, match="isn't a number format"):
        format_number(1.5, spec)


def test_a_fraction_is_not_written_as_an_integer():
    with pytest.raises(ValueError, match="'d'"):
        format_number(0.5, "d")


NUMBERS = {"last": 1.9e-9, "rate.he.lo": 0.98, "depth": 30}


class TestFill:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("No numbers.", "No numbers."),
            ("After {depth} layers {last:.1e} is left.", "After 30 layers 1.9 × 10⁻⁹ is left."),
            ("At least {rate.he.lo:.1f}.", "At least 1.0."),
            ("The set {1, 2} and { depth } stay.", "The set {1, 2} and { depth } stay."),
        ],
    )
    def test_fill(self, template, expected):
        assert fill(template, NUMBERS) == expected

    def test_each_number_can_be_shown_otherwise(self):
        shown = fill("{depth}: {last:.0e}", NUMBERS, lambda name, formatted: f"<{name}={formatted.html}>")
        assert shown == "<depth=30>: <last=2 × 10<sup>−9</sup>>"

    def test_an_unmeasured_number_and_a_bad_spec_are_errors(self):
        with pytest.raises(KeyError, match="width"):
            fill("{width}", NUMBERS)
        with pytest.raises(ValueError, match="isn't a number format"):
            fill("{last:huge}", NUMBERS)


def test_one_is_no_plural():
    assert [count(n, "claim") for n in (0, 1, 2)] == ["0 claims", "1 claim", "2 claims"]
