"""What stands between a name and its value only for the eyes: colours, and marks of emphasis."""

from __future__ import annotations

import re

#: The escape that begins a colour, itself or as reprs and JSON write it.
ESCAPE = r"(?:\x1b|\\{1,4}+(?:x1b|u001b|033))\["
#: Colours of terminals, spaces of HTML, and tags that change nothing but how a text looks.
MARKUP = (
    rf"{ESCAPE}[\d;:]{{0,20}}m|&nbsp;|&\#160;|\\{{1,4}}+(?:u00|x)a0"
    r"|<\\?/?(?i:b|i|u|p|br|em|tt|dd|td|div|pre|kbd|code|font|span|label|small|strong)"
    r"(?:[ ][^<>]{0,80}+)?/?>"
)
#: Noise next to a name, and its first characters, which are found many times faster.
AROUND_NAME = re.compile(rf"{MARKUP}|\*")
BEGINS_NOISE = re.compile(r"[\x1b\\*<]|&[n#]")
#: Noise before a value. Asterisks that touch the value belong to it.
BEFORE_VALUE = re.compile(rf"(?:\s|{MARKUP}|[*_]{{1,3}}(?=\s))*+")
