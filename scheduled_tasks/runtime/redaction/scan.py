"""Finds secrets in a text: one scan from left to right for the places where one may begin.

Whatever is found there says where the scan goes on, so a scan takes time in proportion to the
length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.redaction.names import DIRECTORIES, Kind, secret_names
from scheduled_tasks.runtime.redaction.noise import AROUND_NAME, BEGINS_NOISE
from scheduled_tasks.runtime.redaction.values import (
    MARK,
    Span,
    assigned,
    content_of_element,
    content_of_named,
    credentials_in_url,
    end_of_key,
    end_of_value,
    following,
    login,
    rest_of_header,
    token_of_scheme,
)

#: Characters before a "=" or ":" in which the end of a name is looked for.
MAX_BEFORE = 96
#: Characters between the name and the value of a pair: ``{"name": "API_KEY", …, "value": "…"}``.
MAX_BETWEEN = 200
#: Credentials that are known by their form.
KNOWN = (
    r"eyJ[\w-]{6,}+\.[\w-]{6,}+(?:\.[\w-]*+)?"  # JSON Web Tokens
    r"|gh[pousr]_\w{16,}+|github_pat_\w{16,}+|gl(?:pat|ptt|dt|rt|cbt|soat|ft|oas)-[\w-]{16,}+"
    r"|[sr]k_(?:live|test)_\w{10,}+|whsec_\w{16,}+|sk-[\w-]{20,}+|xox[abeoprs]-[\w-]{10,}+"
    r"|A[KS]IA[0-9A-Z]{16}(?!\w)|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+"
    r"|npm_\w{30,}+|pypi-[\w-]{30,}+|hf_[A-Za-z0-9]{30,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+"
    r"|hv[sb]\.[\w-]{20,}+|do[opr]_v1_\w{30,}+|dckr_pat_[\w-]{20,}+|sbp_\w{30,}+"
    r"|shp(?:at|ca|pa|ss)_\w{20,}+|sq0[a-z]{3}-[\w-]{20,}+|xapp-[\w-]{10,}+"
    r"|AGE-SECRET-KEY-1\w{20,}+|(?:SK|key-)[0-9a-f]{32}(?!\w)"
    r"|sntry[su]_[\w+/=-]{20,}+|lin_(?:api|oauth)_\w{20,}+"
    # In the addresses of bots and webhooks.
    r"|bot\d{6,12}:[\w-]{20,}+"
    r"|(?<=/)(?:(?<=/api/webhooks/)\d{10,20}/[\w-]{20,}+|(?<=/hooks/)[a-z0-9]{26}(?!\w)"
    r"|(?:(?<=hooks\.slack\.com/services/)|(?<=hooks\.slack\.com/triggers/)"
    r"|(?<=hooks\.slack\.com/workflows/)|(?<=hooks\.zapier\.com/hooks/)"
    r"|(?<=\.webhook\.office\.com/webhookb2/))[\w/@-]{10,}+)"
    # The signature of an address in Azure; a user with a password in the settings of npm.
    r"|(?<==)(?:(?<=[?&]sig=)[\w%+/-]{20,}+|(?<=_auth=)[\w+/]{8,}+=*+)"
)
#: Where a secret may begin.
BEGINNING = re.compile(
    r"(?P<url>:(?://|(?:\\{1,4}/){2}|(?:\\{1,4}u002[fF]){2})|%3[aA](?:%2[fF]){2})"
    r"|(?P<name>=>|:=|=(?!=)|:(?!:)|%3[ADad]|</(?:t[dh]|dt)>\s{0,40}+(?=<(?:td|dd)\b))"
    r"|(?P<key>-{4,5}[ ]?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|Private-Lines:)"
    r"|(?P<option>(?<![\w-])--?(?P<option_name>[A-Za-z][\w-]{1,60}+)"
    r"(?:[ \t]{1,8}(?:\\\r?\n[ \t]{0,40})?|[\"'],[ ]?))"
    r"|(?P<element><(?P<element_name>[A-Za-z][\w.:-]{1,60}+)(?=(?:\s[^<>]{0,200}+)?>))"
    r"|(?P<pair>(?:\(|(?<=[\[,])[ ]?\[)[bru]?[\"'](?P<pair_name>[\w-]{1,60}+)"
    r"[\"'],[ ]?(?=[bru]{0,2}[\"']))"
    r"|(?P<statement>(?i:password|passphrase|identified by)(?:[ \t]{1,8}|\()(?=['\"]))"
    # What PostgreSQL says of a constraint: Key (shop, token)=(1, …) already exists.
    r"|(?P<columns>\([\w\", ]{1,200}+\)=(?=\())"
    r"|(?<![\w-])(?:"
    rf"(?P<known>{KNOWN})"
    r"|(?P<scheme>(?i:bearer|basic|token|apikey)(?:[ \t]{1,8}|%20)))"
)
#: What stands before a "=" or ":", backwards: an index, a quote, the name.
BEFORE = re.compile(
    r"(?:\]\d{0,6}\[|\]|D5%)?(?:[\"'`]{1,2}\\{0,16}|;touq&|;[49]3#&|22%|2200u\\{1,16})?"
    r"(?P<name>[\w.\- ]{1,40}+)(?P<quote>[\"']?)"
)
#: The name that a field holds.
NAMED = re.compile(r"[ ]?\\{0,16}[\"']?(?P<name>[\w.\-]{1,40}+)")
#: A path that begins at the root, as a value.
PATH = re.compile(r"[ ]?[\"']?/")
#: Headers whose whole line is the value.
HEADERS = ("cookie", "authorization")
#: Fields whose value is the name of a value, and those that hold this value.
NAMING_FIELDS = frozenset(
    (
        *("name", "key", "header", "field", "variable", "parameter", "setting", "column"),
        *("id", "label", "type"),
    )
)
VALUE_FIELDS = frozenset({"value", "default", "initial", "old", "new"})


def mask_secrets(text: str) -> str:
    """Return the text with the values next to names in REDACT masked.

    Credentials in URLs and headers, private keys, and tokens that are known by their form are
    masked whatever REDACT says.
    """
    if BEGINNING.search(text) is None:
        return text
    return "".join(masked_pieces(text, Scan(text).secrets()))


def mask_secrets_in_halves(text: str, middle: int) -> tuple[str, str]:
    """Return both halves of a text masked, between which something was cut.

    A secret that reaches across the middle belongs to the first half.
    """
    secrets = list(Scan(text, cut_at=middle).secrets())
    crossing = max((end for start, end in secrets if start < middle), default=0)
    middle = max(middle, crossing)
    first = masked_pieces(text[:middle], (span for span in secrets if span[0] < middle))
    second = ((start - middle, end - middle) for start, end in secrets if start >= middle)
    return "".join(first), "".join(masked_pieces(text[middle:], second))


def masked_pieces(text: str, secrets: Iterator[Span]) -> Iterator[str]:
    position = 0
    for start, end in secrets:
        yield text[position:start]
        yield MARK
        position = end
    yield text[position:]


class Scan:
    """One scan of a text. Nothing before ``floor``, the end of the last secret, is read again.

    ``cut_at`` is where something was cut out of the text.
    """

    def __init__(self, text: str, *, cut_at: int = 0) -> None:
        self.text = text
        self.cut_at = cut_at
        self.names = secret_names(app_settings.REDACT)
        self.noisy = BEGINS_NOISE.search(text) is not None
        self.floor = 0
        self._pair_until = 0

    def secrets(self) -> Iterator[Span]:
        """Yield where the secrets are, in order and without overlaps."""
        position = 0
        while found := BEGINNING.search(self.text, position):
            position = found.end()
            start, end = self.secret_at(found) or (0, 0)
            if start < end:
                self.floor = position = end
                if not self.text.startswith(MARK, start):
                    yield start, end

    def secret_at(self, found: re.Match[str]) -> Span | None:
        """Return where the secret is that begins with what was found; None if none does."""
        text = self.text
        match found.lastgroup:
            case "url":
                return credentials_in_url(text, found, cut_at=self.cut_at)
            case "name":
                return self.value_of_name(found)
            case "key":
                return found.start(), end_of_key(text, found.end())
            case "known":
                return found.span()
            case "scheme":
                return token_of_scheme(text, found)
            case "option":
                return self.argument(found)
            case "statement":
                return found.end(), end_of_value(text, found.end())
            case "element" if self.is_secret(found["element_name"].rpartition(":")[2]):
                return content_of_element(text, found.end())
            case "pair" | "columns" if self.names_secret(found["pair_name"] or found["columns"]):
                return found.end(), end_of_value(text, found.end())
        return None

    def argument(self, found: re.Match[str]) -> Span | None:
        """Return what follows an option if it is a secret."""
        if found["option_name"] == "user":
            return login(self.text, found.end())
        return following(self.text, found.end()) if self.is_secret(found["option_name"]) else None

    def value_of_name(self, found: re.Match[str]) -> Span | None:
        """Return the value behind a "=" or ":" if the name before it is secret."""
        text, start = self.text, found.start()
        line = text[max(self.floor, start - MAX_BEFORE) : start]
        if self.noisy:
            line = AROUND_NAME.sub(" ", line)
        before = BEFORE.match(line.rstrip(" \t")[::-1])
        if before is None:
            return None
        name = before["name"][::-1]
        word = name.rpartition(" ")[2]
        if word in DIRECTORIES and PATH.match(text, found.end()):
            return None
        field = word.lower()
        if field.endswith(HEADERS) and found[0] == ":" and before.start("name") == 0:
            return rest_of_header(text, found.end(), quote=before["quote"])
        kind = self.names.kind_of(name)
        if field in NAMING_FIELDS and (content := self.named_content(found.end())):
            return content
        if field in VALUE_FIELDS and start < self._pair_until:
            kind = Kind.SECRET
        return None if kind is Kind.PUBLIC else assigned(text, found, kind)

    def named_content(self, start: int) -> Span | None:
        """Return the content of what has this name, in XML or a form, if it is that of a secret.

        Otherwise a field with its value may follow.
        """
        named = NAMED.match(self.text, start)
        if named is None or not self.is_secret(named["name"]):
            return None
        self._pair_until = named.end() + MAX_BETWEEN
        return content_of_named(self.text, named.end())

    def names_secret(self, names: str) -> bool:
        """Whether a secret is among these names, which stand in brackets or have commas between."""
        return any(self.is_secret(name.strip('()="')) for name in names.split(","))

    def is_secret(self, name: str) -> bool:
        return self.names.kind_of(name) is not Kind.PUBLIC
