"""Which code of the package writes a status, as far as its source tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.sources import modules_of_package

#: A status given to one of these is a condition.
READING = {"filter", "exclude", "get", "Q"}
#: These set what their arguments name.
SETTING = {"setattr", "__setattr__", "setdefault", "__setitem__"}
#: These write the columns that they are told.
SAVING = {"save", "asave", "bulk_create", "abulk_create", "bulk_update", "abulk_update"}


def parts_of_package() -> Iterator[tuple[str, ast.AST]]:
    """Yield each function, and the rest of each class and module, under its dotted name."""
    for path, module in modules_of_package().items():
        yield from parts_of(module, ".".join(path.with_suffix("").parts))


def parts_of(whole: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, ast.AST]]:
    rest: list[ast.stmt] = []
    for node in whole.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{name}.{node.name}", node
            case ast.ClassDef():
                yield from parts_of(node, f"{name}.{node.name}")
            case _:
                rest.append(node)
    yield name, ast.Module(rest, [])


def writes_status(part: ast.AST) -> bool:
    """Whether code gives a status to anything. A guard is a condition."""
    guards = {
        id(inner)
        for node in ast.walk(part)
        if (isinstance(node, ast.Assign) and "guard" in ast.unparse(node.targets[0]))
        or (isinstance(node, ast.BinOp) and "guard" in ast.unparse(node.left))
        for inner in ast.walk(node)
    }
    return any(id(node) not in guards and is_write(node) for node in ast.walk(part))


def is_write(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="status", ctx=ast.Store()):
            return True
        case ast.Subscript(slice=ast.Constant("status"), ctx=ast.Store()):
            return True
        case ast.Dict(keys=keys):
            return any(isinstance(key, ast.Constant) and key.value == "status" for key in keys)
        case ast.Call(keywords=keywords) if any(each.arg == "status" for each in keywords):
            return name_of(node) not in READING
        case ast.Call(args=args) if name_of(node) in SETTING:
            return any(map(names_status, args))
        case ast.Call(args=args, keywords=keywords) if name_of(node) in SAVING:
            return any(map(names_status, [*args, *(each.value for each in keywords)]))
    return False


def name_of(call: ast.Call) -> str:
    """Return the name of the function or method that is called, "" if it has none."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def names_status(argument: ast.AST) -> bool:
    """Whether an argument is the name of the column, or a list with it."""
    parts = ast.walk(argument)
    return any(isinstance(part, ast.Constant) and part.value == "status" for part in parts)
