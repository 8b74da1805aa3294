"""Expressions in the input, such as "0.5 * k * x**4": read by a whitelist, never by eval.

Allowed are real numbers, + - * / ** and signs, brackets, the constants pi and e, the variables and parameters
of the place where the expression stands, and the functions of `FUNCTIONS`, which torch and sympy both have.
"""

from __future__ import annotations

import ast
import difflib
import json
import keyword
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from dsmsim.config.fields import IDENTIFIER

if TYPE_CHECKING:
    import sympy

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "arctan": math.atan,
}
CONSTANTS = {"pi": math.pi, "e": math.e}
LONGEST = 2000
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_INSTEAD = {
    "sech": "write 1 / cosh(...)",
    "sec": "write 1 / cos(...)",
    "cot": "write 1 / tan(...)",
    "atan": "write arctan(...)",
    "ln": "write log(...)",
    "fabs": "write abs(...)",
    "pow": "write a ** b",
    "square": "write (...) ** 2",
}
_SYMPY_NAMES = {"abs": "Abs", "arctan": "atan"}


def check_parameter_names(names: Collection[str], reserved: Collection[str]) -> None:
    """Check that names of parameters can be used in an expression or as keyword arguments.

    Raises:
        ValueError: a name is no identifier, or already means something else.
    """
    for name in names:
        if IDENTIFIER.fullmatch(name) is None or keyword.iskeyword(name):
            raise ValueError(f"{json.dumps(name)} is no name; use letters, digits and _")
        if name in reserved:
            raise ValueError(f'"{name}" already has a meaning here; choose another name')


def check_expression(text: str, variables: Collection[str], parameters: Collection[str]) -> None:
    """Check that `text` is an expression of `variables` and `parameters`, and that every parameter is used.

    Raises:
        ValueError: it is not; the message shows the offending piece and what may stand there.
    """
    used: set[str] = set()
    _guarded(text, lambda node: _check(node, [*variables, *parameters], used))
    unused = sorted(set(parameters) - used)
    if unused:
        raise ValueError(
            f'the parameter "{unused[0]}" is not used in "{_shortened(text)}"; use it or remove it'
        )


def evaluator(text: str) -> Callable[[Mapping[str, float]], float]:
    """A checked expression as a function of the values of its names; NaN where it is undefined or huge."""
    tree = _parse(text)

    def evaluate(values: Mapping[str, float]) -> float:
        try:
            return _value(tree, values)
        except (ArithmeticError, ValueError):
            return math.nan

    return evaluate


def symbol(name: str) -> sympy.Symbol:
    """The symbol that stands for a variable or a parameter in the result of `to_sympy`: a real one."""
    import sympy

    return sympy.Symbol(name, real=True)


def to_sympy(text: str, variables: Collection[str], parameters: Collection[str]) -> sympy.Expr:
    """The expression for sympy, with `symbol(name)` for every variable and parameter.

    Constant pieces become floats (whole exponents become integers), so that code generated from it, and from
    its derivatives, never calls a torch function on a plain number, and no exact integer grows without limit.

    Raises:
        ValueError: as `check_expression`.
    """
    check_expression(text, variables, parameters)
    import sympy

    return sympy.sympify(_guarded(text, lambda node: _sympy(node, sympy)))


def _parse(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip(), mode="eval").body


def _guarded(text: str, use: Callable[[ast.expr], Any]) -> Any:
    """Parse and use an expression; every way in which Python's parser gives up becomes a ValueError."""
    if not text.strip():
        raise ValueError("the expression is empty")
    if len(text) > LONGEST:
        raise ValueError(f"the expression has {len(text)} characters; at most {LONGEST} are allowed")
    if not text.isprintable():
        raise ValueError(f"{_shortened(text)!r} must be one line of printable text")
    try:
        return use(_parse(text))
    except UnicodeEncodeError:
        raise ValueError("the expression has characters that are not text") from None
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        piece = _shortened(text.strip()[column:], 20) or "its end"
        raise ValueError(f'cannot read "{_shortened(text)}" at "{piece}": {error.msg}') from None
    except (MemoryError, RecursionError):
        raise ValueError("the expression is nested too deeply; use fewer brackets") from None
    except ArithmeticError:
        raise ValueError(f'"{text}" has numbers that are too large') from None


def _shortened(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _piece(node: ast.AST) -> str:
    return _shortened(ast.unparse(node))


def _nearest(name: str, valid: Collection[str]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def _check(node: ast.expr, names: list[str], used: set[str]) -> None:
    """Walk the syntax tree; everything that is not listed here is refused."""
    if isinstance(node, ast.Constant):
        _check_number(node)
    elif isinstance(node, ast.Name):
        _check_name(node.id, names)
        used.add(node.id)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        _check(node.operand, names, used)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _check(node.left, names, used)
        _check(node.right, names, used)
        if _is_constant(node) or (isinstance(node.op, ast.Div | ast.Pow) and _is_constant(node.right)):
            _check_constant(node)
    elif isinstance(node, ast.Call):
        _check_call(node)
        _check(node.args[0], names, used)
        if _is_constant(node):
            _check_constant(node)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        raise ValueError(f'"^" in "{_piece(node)}" is not a power; write **')
    else:
        raise ValueError(
            f'"{_piece(node)}" is not allowed; write numbers, + - * / **, brackets, names and functions only'
        )


def _check_number(node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'"{_piece(node)}" is not a real number')
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f'the number "{_piece(node)[:20]}" is too large')


def _check_name(name: str, names: list[str]) -> None:
    if name in names or name in CONSTANTS:
        return
    valid = [known for known in (*names, *CONSTANTS) if IDENTIFIER.fullmatch(known)]
    if name in FUNCTIONS:
        raise ValueError(f'"{name}" is a function; write {name}(...)')
    raise ValueError(f'unknown name "{name}"{_nearest(name, valid)} (known here: {", ".join(valid)})')


def _check_call(node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name):
        raise ValueError(f'"{_piece(node)}" is not allowed; write * for a product')
    name = node.func.id
    if name not in FUNCTIONS:
        hint = f"; {_INSTEAD[name]}" if name in _INSTEAD else _nearest(name, FUNCTIONS)
        raise ValueError(
            f'unknown function "{name}" in "{_piece(node)}"{hint} (known: {", ".join(FUNCTIONS)})'
        )
    if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
        raise ValueError(f'"{_piece(node)}": {name} takes one argument')


def _is_constant(node: ast.expr) -> bool:
    return all(
        not isinstance(part, ast.Name) or part.id in CONSTANTS or part.id in FUNCTIONS
        for part in ast.walk(node)
    )


def _check_constant(node: ast.BinOp | ast.Call) -> None:
    """Refuse constant pieces without a finite value, constant zeros below a stroke, and absurd exponents."""
    part = node.right if isinstance(node, ast.BinOp) and not _is_constant(node) else node
    try:
        value = _value(part, {})
    except (ArithmeticError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'"{_piece(part)}" has no finite value')
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and part is node.right and value == 0:
        raise ValueError(f'"{_piece(node)}" divides by zero')
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and abs(_value(node.right, {})) > 1000:
        raise ValueError(f'the exponent in "{_piece(node)}" is too large')


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return values[node.id] if node.id in values else CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id](_value(node.args[0], values))
    assert isinstance(node, ast.BinOp)
    result = _combine(node.op, _value(node.left, values), _value(node.right, values))
    if isinstance(result, complex):
        raise ArithmeticError("a power of a negative number that is not real")
    return float(result)


def _combine(operator: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    if isinstance(operator, ast.Div):
        return left / right
    return left**right


def _sympy(node: ast.expr, sympy: Any) -> Any:
    if _is_constant(node):
        return sympy.Float(_value(node, {}), 17)  # digits enough to print the same double
    if isinstance(node, ast.Name):
        return symbol(node.id)
    if isinstance(node, ast.UnaryOp):
        inner = _sympy(node.operand, sympy)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        function = getattr(sympy, _SYMPY_NAMES.get(node.func.id, node.func.id))
        return function(_sympy(node.args[0], sympy))
    assert isinstance(node, ast.BinOp)
    right = _sympy(node.right, sympy)
    if isinstance(node.op, ast.Pow) and _is_constant(node.right) and float(right).is_integer():
        right = sympy.Integer(int(float(right)))  # x**2.0 would not be known to be real
    return _combine(node.op, _sympy(node.left, sympy), right)
