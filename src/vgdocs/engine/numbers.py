"""A measured number and a format spec, as HTML and as plain text: 1.9e-09 becomes 1.9 × 10⁻⁹."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

Number = int | float

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)(?::([^{}]*))?\}")
SPEC = re.compile(r"[+ ]?,?(\.\d{1,2})?[defgEFG%]?")


class Formatted(NamedTuple):
    """One number, twice."""

    html: str
    text: str


def format_number(value: Number, spec: str = "") -> Formatted:
    """Format by Python's mini-language, then set it as print would: minus signs, powers of ten.

    `spec` takes a sign, a thousands comma, a precision and one of d, e, f, g, %; without one, integers are
    written whole and other numbers with three significant digits. Raises ValueError for any other spec.
    """
    if not SPEC.fullmatch(spec):
        raise ValueError(f"{spec!r} isn't a number format; use .2e, .3f, .3g, d, .1% or none")
    try:
        digits = format(value, spec or ("" if isinstance(value, int) else ".3g"))
    except OverflowError:  # of an integer that no float holds
        raise ValueError(f"the number has too many digits for the format {spec!r}") from None
    mantissa, _, exponent = digits.lower().partition("e")
    mantissa = mantissa.replace("-", "−")
    power = str(int(exponent or 0))
    if power == "0":
        return Formatted(mantissa, mantissa)
    # 1 × 10⁻⁹ is said 10⁻⁹
    lead = "" if mantissa == "1" else f"{mantissa} × "
    return Formatted(f"{lead}10<sup>{power.replace('-', '−')}</sup>", f"{lead}10{power.translate(SUPERSCRIPTS)}")


def in_page(value: Number) -> str:
    """A number as a page's HTML holds it: nine significant digits, which is more than two machines agree on."""
    return repr(value if isinstance(value, int) else float(f"{value:.9g}"))


def count(number: int, noun: str) -> str:
    """A count with its noun: 1 claim, 2 claims."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def fill(template: str, numbers: Mapping[str, Number], show: Callable[[str, Formatted], str] | None = None) -> str:
    """Put measured numbers into a sentence: `{name:spec}` becomes the formatted value.

    `show(name, formatted)` writes each one; plain text if it is not given. Raises KeyError for a number
    that wasn't measured and ValueError for a bad spec.
    """

    def one(match: re.Match[str]) -> str:
        name, spec = match[1], match[2] or ""
        if name not in numbers:
            raise KeyError(name)
        formatted = format_number(numbers[name], spec)
        return show(name, formatted) if show else formatted.text

    return PLACEHOLDER.sub(one, template)
