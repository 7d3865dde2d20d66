# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of a C file: plausible mistakes, one at a time, made on clang's syntax tree.

Operators:
    comparison   == and !=, < and <=, > and >= exchanged; a ! dropped
    check        the condition of an if that leaves (return, goto, break, continue) never holds, any other always;
                 an operand of && and || dropped; one side of ?: always
    call         a call whose value nothing uses is dropped
    store        an assignment, ++ or -- that is a statement is dropped; a designated initialiser is dropped
    off-by-one   a number in arithmetic is one more; the 1 of + 1 and - 1 is 0
    errno        another error number
    field        another member of the same type

Code that a macro expands to is left alone; what stands in the file is changed as text, at the extents of the tree.
"""
import collections
import re

from clang import cindex
from clang.cindex import CursorKind as K

# @start, @end: bytes of the file that @text replaces
Mutant = collections.namedtuple("Mutant", "path function line operator start end text")

COMPARISONS = {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
ERRNOS = {"EINVAL": "ENOENT", "ENOENT": "EINVAL", "EACCES": "EPERM", "EPERM": "EACCES", "ENOMEM": "ENOSPC", "ENOSPC": "ENOMEM",
          "EBUSY": "EEXIST", "EEXIST": "EBUSY", "EINTR": "EAGAIN", "EAGAIN": "EINTR"}
LEAVING = (K.RETURN_STMT, K.GOTO_STMT, K.BREAK_STMT, K.CONTINUE_STMT)
LOOPS = (K.FOR_STMT, K.WHILE_STMT, K.DO_STMT)
ARITHMETIC = ("+", "-", "*", "/", "%", "<<", ">>", "<", "<=", ">", ">=", "==", "!=")


class File:
    """The functions of one file, and what can be changed in them."""

    def __init__(self, path, shown, arguments):
        with open(path, "rb") as f:
            self.source = f.read()
        self.shown = shown
        self.mutants = []
        self.function = ""
        unit = cindex.Index.create().parse(path, args=arguments, options=cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        wrong = [d for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Fatal]
        if wrong:
            raise ValueError(f"{path}: {wrong[0].spelling}")
        top = [c for c in unit.cursor.get_children() if c.location.file and c.location.file.name == path]
        self.macros = [(c.extent.start.offset, c.extent.end.offset) for c in top
                       if c.kind == K.MACRO_INSTANTIATION and c.extent.end.offset - c.extent.start.offset > len(c.spelling)]
        for c in top:
            if c.kind == K.FUNCTION_DECL and c.is_definition():
                self.function = c.spelling
                self.errnos(c)
                for child in c.get_children():
                    if child.kind == K.COMPOUND_STMT:
                        self.walk(child, c)

    def add(self, operator, start, end, text):
        if start < end and not any(a < start < b or (a <= start and end < b) for a, b in self.macros):
            line = self.source.count(b"\n", 0, start) + 1
            self.mutants.append(Mutant(self.shown, self.function, line, operator, start, end, text))

    def text(self, start, end):
        return self.source[start:end].decode(errors="replace")

    def errnos(self, function):
        for t in function.get_tokens():
            if t.kind == cindex.TokenKind.IDENTIFIER and re.fullmatch(r"E[A-Z0-9]{3,}", t.spelling):
                at = t.extent.start.offset
                self.add("errno", at, t.extent.end.offset, ERRNOS.get(t.spelling, "EINVAL"))

    def walk(self, c, parent):
        children = list(c.get_children())
        if c.kind == K.BINARY_OPERATOR and len(children) == 2:
            self.binary(c, children, parent)
        elif c.kind == K.COMPOUND_ASSIGNMENT_OPERATOR:
            self.statement("store", c, parent)
        elif c.kind == K.UNARY_OPERATOR:
            self.unary(c, parent)
        elif c.kind == K.CALL_EXPR:
            self.statement("call", c, parent)
        elif c.kind == K.IF_STMT:
            self.condition(children)
        elif c.kind == K.CONDITIONAL_OPERATOR and len(children) == 3:
            a, b = c.extent.start.offset, c.extent.end.offset
            for side in children[1:]:
                self.add("check", a, b, "(" + self.text(side.extent.start.offset, side.extent.end.offset) + ")")
        elif c.kind == K.INIT_LIST_EXPR:
            self.initialisers(children)
        elif c.kind == K.MEMBER_REF_EXPR:
            self.field(c)
        for child in children:
            self.walk(child, c)

    def is_statement(self, c, parent):
        if parent.kind == K.COMPOUND_STMT or parent.kind in (K.CASE_STMT, K.DEFAULT_STMT, K.LABEL_STMT):
            return True
        siblings = list(parent.get_children())
        if parent.kind == K.IF_STMT:
            return c != siblings[0]
        return parent.kind in LOOPS and c == siblings[0 if parent.kind == K.DO_STMT else -1]

    def statement(self, operator, c, parent):
        if self.is_statement(c, parent):
            start, end = c.extent.start.offset, c.extent.end.offset
            if self.text(end, end + 1) == ";":
                self.add(operator, start, end, "(void)0")

    def operator_between(self, left, right):
        """(start, end) of the operator between two operands, or None."""
        start, end = left.extent.end.offset, right.extent.start.offset
        m = re.fullmatch(r"[\s)]*([-+*/%<>=!&|^]+)[\s(]*", self.text(start, end))
        return (start + m.start(1), start + m.end(1)) if m else None

    def binary(self, c, children, parent):
        left, right = children
        at = self.operator_between(left, right)
        if not at:
            return
        op = self.text(*at)
        start, end = c.extent.start.offset, c.extent.end.offset
        if op in COMPARISONS:
            self.add("comparison", *at, COMPARISONS[op])
        elif op in ("&&", "||"):
            for side in children:
                self.add("check", start, end, "(" + self.text(side.extent.start.offset, side.extent.end.offset) + ")")
        elif op == "=":
            self.statement("store", c, parent)
        if op in ARITHMETIC:
            for side in children:
                self.number(side, op, side is right)

    def number(self, c, op, last):
        # a literal may be wrapped in conversions that are not in the text
        a, b = c.extent.start.offset, c.extent.end.offset
        m = re.fullmatch(r"(\d+|0x[0-9a-fA-F]+)([uUlL]*)", self.text(a, b))
        if not m or m.group(1).startswith("0") and not m.group(1).startswith("0x"):
            return
        value = int(m.group(1), 0)
        self.add("off-by-one", a, b, f"{value + 1}{m.group(2)}")
        if value == 1 and last and op in ("+", "-"):
            self.add("off-by-one", a, b, f"0{m.group(2)}")

    def unary(self, c, parent):
        start, end = c.extent.start.offset, c.extent.end.offset
        text = self.text(start, end)
        if text.startswith("!"):
            self.add("comparison", start, start + 1, "!!")
        elif text.startswith(("++", "--")) or text.endswith(("++", "--")):
            self.statement("store", c, parent)

    def condition(self, children):
        cond, then = children[0], children[1]
        last = then
        if then.kind == K.COMPOUND_STMT:
            inside = list(then.get_children())
            last = inside[-1] if inside else then
        start, end = cond.extent.start.offset, cond.extent.end.offset
        self.add("check", start, end, "0" if last.kind in LEAVING else "1")

    def initialisers(self, children):
        for c in children:
            start, end = c.extent.start.offset, c.extent.end.offset
            text = self.text(start, end)
            m = re.match(r"\.\w+\s*=", text)
            if not m or re.match(r"\.size\b", text):
                continue
            after = re.match(r"\s*,", self.text(end, end + 80))
            self.add("store", start, end + (after.end() if after else 0), "")

    def field(self, c):
        name, decl = c.spelling, c.referenced
        end = c.extent.end.offset
        if decl is None or not name or self.text(end - len(name), end) != name:
            return
        fields = [f for f in decl.semantic_parent.get_children() if f.kind == K.FIELD_DECL and
                  f.type.get_canonical().spelling == decl.type.get_canonical().spelling]
        names = [f.spelling for f in fields]
        if name in names and len(names) > 1:
            self.add("field", end - len(name), end, names[(names.index(name) + 1) % len(names)])


def mutants(path, shown, arguments):
    found = File(path, shown, arguments)
    unique = {(m.start, m.end, m.text): m for m in found.mutants}
    return found.source, sorted(unique.values(), key=lambda m: (m.start, m.end, m.text))


def one_line(text):
    return " ".join(text.split())


def describe(source, m):
    """The lines before and after, each as one."""
    start = source.rfind(b"\n", 0, m.start) + 1
    end = source.find(b"\n", m.end)
    end = len(source) if end < 0 else end
    before = source[start:end].decode(errors="replace")
    after = (source[start:m.start] + m.text.encode() + source[m.end:end]).decode(errors="replace")
    return one_line(before), one_line(after)
