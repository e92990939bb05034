"""Where a value begins and ends that a secret name announces.

Each function reads forward only, and not beyond the end that it returns except for a limited
number of characters. So a scan that goes on at that end reads each character a few times at most.
"""

from __future__ import annotations

import re

from scheduled_tasks.runtime.redaction.names import Kind
from scheduled_tasks.runtime.redaction.noise import BEFORE_VALUE, ESCAPE

MARK = "[redacted]"
#: Where a secret begins and ends in its text.
Span = tuple[int, int]

#: What stands for a quote in HTML and URLs.
WRITTEN_QUOTES = ("&quot;", "&apos;", "&#34;", "&#39;", "%22", "%27", r"\u0022", r"\u0027")
#: A quote, or what is written for one: two of them stand for one in a quoted field of CSV.
OPENING = re.compile(
    rf"[bru]{{0,2}}(?:(?P<written>{'|'.join(map(re.escape, WRITTEN_QUOTES))}|([\"'])\2(?=\w))"
    r"|(?P<slashes>\\*+)(?P<quote>[\"'`]))",
    re.IGNORECASE,
)
BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
IN_BRACKETS = re.compile(r"[()\[\]{}\"]|(?<!\w)'")
#: A value without quotes. A quote or a closing bracket inside a word belongs to it.
BARE = re.compile(rf"(?:(?!{ESCAPE})[^\s,;&<>\"'()\[\]{{}}]|[\"')\]}}](?=\w))*+")
IN_ANGLES = re.compile(r"<[^<>\s]*+>?")
#: The lines of a block in YAML, after the mark that begins it.
BLOCK = re.compile(r"[|>][-+\d]{0,2}[ \t]*+\n(?:[ \t]++[^\n]*+(?:\n|\Z))*+")
#: The first line of a list or an object in YAML, below the line of its name.
FIRST_LINE = re.compile(
    r"[ \t\r]*+\n(?P<indent>[ ]*+)(?:(?P<dash>-[ ])"
    r"(?=[\"']|[^\s:]++[ \t\r]*+(?:\n|\Z)|[\w.-]{1,60}:\s)|(?=[\w.-]{1,60}:\s))"
)
LIST = re.compile(r"(?P<indent>[ ]*+)[^\n]*+(?:\n(?P=indent)[- ][ ][^\n]*+)*+")
OBJECT = re.compile(r"(?P<indent>[ ]*+)[^\n]*+(?:\n(?P=indent)[^\n]++)*+")
#: What may stand before a value in YAML: its tag and its anchor.
PROPERTIES = re.compile(r"(?:[!&][\w!/.:,-]{0,60}+[ \t]{1,8})+")
#: The longest line in which the indentation before a name is looked for, in characters.
MAX_LINE_LENGTH = 200
LINE_OF_ONE_WORD = re.compile(r"[^\s:=]++(?=[\r\n]|\Z)")
#: The scheme of an authorization, before its value.
SCHEME = re.compile(r"(?i:basic|bearer|digest|negotiate|token|apikey)[ \t]{1,8}(?=\S)")
#: An annotation between a name and its value: ``password: str = "x"``.
ANNOTATION = re.compile(
    r"[A-Za-z_][\w.]{0,40}+(?:\[[^\]\n]{0,40}+\])?(?:[ ]?\|[ ]?\w{1,20}+)?[ ]?=(?!=)[ ]?"
)
#: What stands for no value, or for a switch.
NO_SECRETS = frozenset({"none", "null", "nil", "true", "false", "undefined"})
#: A value that consists of nothing else is empty, masked by another, or a bracket in an error.
EMPTY = "\"'`\\()[]{}*"
COUNT = re.compile(r"[-+]?\d[\d.,_/]*+[%kKM]?\Z")
#: The rest of a header's line, also where its end is escaped.
HEADER = re.compile(r"(?:[^\r\n\\]|\\(?![rn]))*+")
#: The last line of a private key, in PEM, SSH2 and PuTTY.
END_OF_KEY = re.compile(r"-{4,5}[ ]?END(?:[^-]{0,100}+-{4,5})?|Private-MAC:|\Z")
#: What ends the part of a form whose name has just been read, and begins its value.
HEAD_OF_PART = re.compile(r"[\"'](?:(?:\r?\n){2}|(?:\\r)?\\n(?:\\r)?\\n)")
#: The content of an element whose last attribute has just been read.
CONTENT = re.compile(r"[\"'][ ]?>(?P<content>[^<]*+)")
#: A parameter of a scheme, which is no token: ``Bearer realm="shop"``.
PARAMETER = re.compile(r"[A-Za-z_]{1,30}=[\"\w]")
TOKEN = re.compile(r"[\w.+/~-]++=*+")
#: Words after "Bearer", or after an option, that show that a sentence goes on.
WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "auth", "authentication", "authorization"),
        *("cannot", "flag", "for", "from", "has", "have", "in", "is", "of", "option", "options"),
        *("or", "required", "requires", "scheme", "the", "to", "token", "tokens", "was", "with"),
    )
)
#: A word of this length is no word of a sentence.
MIN_RANDOM_LENGTH = 32
#: A user and a password, but not the numbers of a user and a group.
LOGIN = re.compile(r"[\"']?(?!\d+:\d)([^\s:\"']{1,60}+:[^\s\"']++)")
AUTHORITY = re.compile(r"[^\s/\"'<>`\\]*+")
#: Characters of a URL inside another URL, without those that divide it: "@", "/" and ":".
ENCODED = r"(?:[^\s\"'<>&%]|%(?!40|2[fF]|3[aA]))*+"
IN_ENCODED = re.compile(rf"{ENCODED}%3[aA](?P<password>{ENCODED})%40")
#: The longest password in a URL that contains a slash, in characters.
SLASHED = re.compile(r"[^\s\"'<>`\\@]{0,200}+@")


def assigned(text: str, found: re.Match[str], kind: Kind) -> Span | None:
    """Return the value that stands behind a "=" or ":"."""
    if found[0] == ":" and (block := block_below(text, found)):
        return block
    noise = BEFORE_VALUE.match(text, found.end())
    start = noise.end() if noise else found.end()
    if "\n" in text[found.end() : start] and not begins_alone(text, start):
        return None
    if found[0] == ":" and (
        announced := ANNOTATION.match(text, start) or PROPERTIES.match(text, start)
    ):
        return start, end_of_value(text, announced.end())
    if scheme := SCHEME.match(text, start):
        start = scheme.end()
    end = end_of_value(text, start)
    value = text[start:end]
    if not value.strip(EMPTY) or value.rstrip(".").lower() in NO_SECRETS:
        return None
    return None if kind is Kind.PLURAL and COUNT.match(value) else (start, end)


def block_below(text: str, found: re.Match[str]) -> Span | None:
    """Return the items or fields of YAML in the lines below a name that is alone in its line."""
    start = max(found.start() - MAX_LINE_LENGTH, 0)
    line = text[max(text.rfind("\n", start, found.start()) + 1, start) : found.start()]
    first = FIRST_LINE.match(text, found.end())
    if first is None or " " in line.strip(" -"):  # "if password:" is Python
        return None
    indent = len(line) - len(line.lstrip(" "))
    if len(first["indent"]) < (indent if first["dash"] else indent + 1):
        return None
    lines = (LIST if first["dash"] else OBJECT).match(text, first.start("indent"))
    return (first.end("indent"), lines.end()) if lines else None


def begins_alone(text: str, start: int) -> bool:
    """Whether the value of the line before begins here: in quotes or brackets, or as one word."""
    if OPENING.match(text, start) or text[start : start + 1] in BRACKETS:
        return True
    return LINE_OF_ONE_WORD.match(text, start) is not None


def end_of_value(text: str, start: int) -> int:
    """Return where a value ends: quoted, in brackets, or up to the next separator."""
    if text.startswith(MARK, start):
        return start + len(MARK)
    if opening := OPENING.match(text, start):
        return end_of_quoted(text, opening)
    if text.startswith("-----BEGIN", start):
        return end_of_key(text, start)
    if block := BLOCK.match(text, start):
        return block.end() - (text[block.end() - 1] == "\n")
    if angles := IN_ANGLES.match(text, start):
        return angles.end()
    return end_of_bare(text, start)


def end_of_quoted(text: str, opening: re.Match[str]) -> int:
    """Return where a quoted value ends; one without an end goes on to the end of the text."""
    begin, written = opening.end(), opening["written"]
    if written:
        end = text.find(written, begin)
        return len(text) if end < 0 else end + len(written)
    quote, slashes = opening["quote"], len(opening["slashes"])
    while (end := text.find(quote, begin)) >= 0:
        before = text[begin:end]
        count = len(before) - len(before.rstrip("\\"))
        if count < slashes:
            return end - count  # the text around it ends here
        # Each level of quotes doubles the backslashes of the level inside it.
        if count % (2 * slashes + 2) == slashes:
            if not text.startswith(quote, end + 1):
                return end + 1
            end += 1  # doubled, as in SQL
        begin = end + 1
    return len(text)


def end_of_bare(text: str, start: int) -> int:
    """Return where a value without quotes ends. Brackets that it opens belong to it."""
    end = start
    while found := BARE.match(text, end):
        end = found.end()
        if text[end : end + 1] not in ("(", "[", "{"):
            break
        end = end_of_brackets(text, end)
    # Backslashes escape the quote that follows.
    return end - len(text[start:end]) + len(text[start:end].rstrip("\\"))


def end_of_brackets(text: str, start: int) -> int:
    """Return where the bracket is closed that opens here; the end of the text if it is not."""
    depth, position = 0, start
    while found := IN_BRACKETS.search(text, position):
        position = found.end()
        if found[0] not in BRACKETS:
            opening = OPENING.match(text, found.start())
            position = end_of_quoted(text, opening) if opening else position
            continue
        depth += BRACKETS[found[0]]
        if depth == 0:
            return position
    return len(text)


def rest_of_header(text: str, start: int, *, quote: str) -> Span | None:
    """Return the value of a header: the rest of its line, or of the quotes that it stands in."""
    while text[start : start + 1] == " ":
        start += 1
    if text.startswith(MARK, start):
        return None  # before the line is read, which other headers may be in
    closing = text.find(quote, start) if quote else -1
    line = HEADER.match(text, start, closing if closing >= 0 else len(text))
    return None if line is None else line.span()


def credentials_in_url(text: str, found: re.Match[str], *, cut_at: int) -> Span | None:
    """Return the password in a URL; without one, what stands alone before the "@".

    The match is what stands between the scheme and them, which is written with "%" in a URL that
    is part of another. The "@" may be missing because the text was cut.
    """
    begin = found.end()
    if found[0].startswith("%"):
        encoded = IN_ENCODED.match(text, begin)
        return encoded.span("password") if encoded else None
    authority = AUTHORITY.match(text, begin)
    end = authority.end() if authority else begin
    at = text.rfind("@", begin, end)
    if at < 0 and text[begin : begin + 1] != "[" and (slashed := SLASHED.match(text, end)):
        # A port is a number. Whatever else follows a colon is a password, here with a slash in it.
        colon = text.find(":", begin, end)
        at = -1 if colon < 0 or text[colon + 1 : end].isdigit() else slashed.end() - 1
    if at < 0 and begin < cut_at <= end:
        return begin, end
    user, colon_found, password = text[begin:at].partition(":") if at >= 0 else ("", "", "")
    if "?" in user or "#" in user:
        return None
    if colon_found and password not in ("", "x-oauth-basic"):
        return begin + len(user) + 1, at
    web = text[max(found.start() - 5, 0) : found.start()].lower().endswith(("http", "https"))
    return (begin, at) if user and (web or looks_random(user, shortest=20)) else None


def token_of_scheme(text: str, found: re.Match[str]) -> Span | None:
    """Return the token that stands behind "Bearer" and the like, outside a header."""
    token = TOKEN.match(text, found.end())
    if token is None or token[0].lower() in WORDS or PARAMETER.match(text, token.start()):
        return None
    if found[0].startswith(("Bearer", "BEARER")) or looks_random(token[0], shortest=6):
        return token.span()
    return None


def looks_random(word: str, *, shortest: int) -> bool:
    """Whether a word is long and mixed enough to be no word of a sentence."""
    if len(word) < shortest or not any(map(str.isalpha, word)):
        return False
    mixed = any(map(str.isdigit, word)) or not (word[1:].islower() or word[1:].isupper())
    return mixed or len(word) >= MIN_RANDOM_LENGTH


def following(text: str, start: int) -> Span | None:
    """Return the argument that follows an option, unless it is an option or a sentence goes on."""
    if text.startswith("-", start):
        return None
    end = end_of_value(text, start)
    return None if text[start:end].lower() in WORDS else (start, end)


def login(text: str, start: int) -> Span | None:
    """Return the user and the password that follow ``--user``."""
    user_and_password = LOGIN.match(text, start)
    return user_and_password.span(1) if user_and_password else None


def content_of_element(text: str, start: int) -> Span | None:
    """Return the text of an element of XML, from within its opening tag."""
    start = text.find(">", start) + 1
    end = text.find("<", start)
    if text.startswith("<![CDATA[", end) and end >= 0:
        end = text.find("]]>", end)
        return start, len(text) if end < 0 else end + len("]]>")
    if end >= 0 and text.startswith("</", end):
        return start, end
    # A tag alone is a placeholder, as in the usage of a command.
    return (start, end_of_bare(text, start)) if text[start : start + 1].isalnum() else None


def content_of_named(text: str, start: int) -> Span | None:
    """Return what follows the name in ``<string name="…">`` or in the head of a part of a form."""
    if head := HEAD_OF_PART.match(text, start):
        return rest_of_header(text, head.end(), quote="")
    content = CONTENT.match(text, start)
    return content.span("content") if content else None


def end_of_key(text: str, start: int) -> int:
    """Return where a private key ends; one without an end goes on to that of the text."""
    end = END_OF_KEY.search(text, start)
    return end.end() if end else len(text)
