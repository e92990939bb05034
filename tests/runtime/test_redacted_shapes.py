"""Secrets are found in the shapes in which programs write them, and little else is."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.runtime.redaction import MARK, mask_secrets, mask_secrets_in_json

S = "hunter2xyz"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{S}\nabc=\n-----END RSA PRIVATE KEY-----"

AUTHORIZATIONS = [
    f"Bearer {S}",
    f"bearer {S}",
    f"Basic aHVu{S}",
    f"Token {S}",
    f"curl -H 'Authorization: Bearer {S}' https://example.com/",
    f"'Authorization': 'Token {S}'",
    f"Proxy-Authorization: Basic {S}",
    f"authorization=Bearer {S}",
    f"b'Authorization: Basic {S}\\r\\nHost: example.com'",
    f"Set-Cookie: sid={S}; Path=/",
    f"sessionid={S}",
    f"?page=1&access_token={S}&size=2",
    f"https://s3/x?X-Amz-Signature={S}&page=2",
    f"redirect=%2Flogin%3Ftoken%3D{S}",
]
NAMES = [
    f"pwd={S}",
    f"pass={S}",
    f"dbPass={S}",
    f"PGPASSWORD={S} psql",
    f"secret_key={S}",
    f"aws_secret_access_key = {S}",
    f"clientSecret: '{S}'",
    f"APIKey: {S}",
    f"X-Api-Key: {S}",
    f"AccountKey={S};EndpointSuffix=x",
    f"password1={S}",
    f"password_confirmation={S}",
    f"password_hash={S}",
    f"passwords: ['{S}', 'b']",
    f"tokens={{'a': '{S}'}}",
    f'"api_keys": ["a", "{S}"]',
    f"host=db password='{S} y' dbname=shop",
    f"passwords[0]={S}",
    f"password[]={S}",
    f"user%5Bpassword%5D={S}",
    f"api.key={S}",
    f"password_old={S}",
    f"SECRET_KEY_FALLBACKS = ['{S}']",
    f"Ocp-Apim-Subscription-Key: {S}",
    f"db_pw={S}",
    f"SecretString: {S}",
    f"FERNET_KEY={S}",
    f"rootpw={S}",
    f"application_key={S}",
    f"PHPSESSID={S}",
    f"password_prod_2={S}",
    f"apikey_v2={S}",
    f"Driver=x;UID=sa;PWD={S}",
]
ARGUMENTS = [
    f"['--password', '{S}']",
    f"--password {S}",
    f'mysql --password "{S}" shop',
    f"('X-Api-Key', '{S}')",
    f'{{"headers": [["a", "b"], ["cookie", "a={S}"]]}}',
    f"<input type='password' value='{S}'>",
    f"{{'name': 'API_KEY', 'value': '{S}'}}",
    f"- name: DB_PASSWORD\n  value: {S}",
    f'<input name="password" value="{S}">',
    f"(b'cookie', b'a={S}')",
    f"ALTER USER ann WITH PASSWORD '{S}'",
    f"Key (token, shop)=({S}, 5) already exists.",
    f"Key (shop, token)=(5, {S}) already exists.",
    f"CREATE USER ann IDENTIFIED BY '{S}'",
    f"--password \\\n  {S}",
    f"curl --user ann:{S} https://example.com/",
    f"curl --user 'ann:{S}' https://example.com/",
]
SOURCES = [
    f"config['password'] = '{S}'",
    f'os.environ["DB_PASSWORD"] = "{S}"',
    f"password: str = '{S}'",
    f"password: Optional[str] = '{S}'",
    f"password := '{S}'",
    f'password = """{S}"""',
    f"password=Secret('{S}')",
    f"password=hun(ter){S}",
    f"user.set_password('{S}')",
]
DOCUMENTS = [
    f"<password>{S}</password>",
    f"<ns:Password type='t'>{S}</ns:Password>",
    f"<password><![CDATA[{S}]]></password>",
    f'<string name="api_key">{S}</string>',
    f'form-data; name="password"\r\n\r\n{S}\r\n--x',
    f"b'form-data; name=\"password\"\\r\\n\\r\\n{S}\\r\\n--x'",
    f"\\u0022password\\u0022: \\u0022{S}\\u0022",
    f"password: |\n  {S}\n  more\nuser: ann",
    f'"password":\n  "{S}"',
    f"Password:\n{S}\n",
    f"&quot;password&quot;: &quot;{S}&quot;",
    f'{{""password"": ""{S}""}}',
    f'{{"body": "{{\\"password\\": \\"x\\\\\\"{S}\\"}}"}}',
    f"tokens:\n  - {S}\n  - {S}\nuser: ann",
    f"secrets:\n  db: a\n  more:\n    x: {S}\nuser: ann",
    f"password:\n- a\n- {S}",
    f"a:\n  - password:\n    - {S}\n    user: ann",
    f"password: !!str {S}",
    f"password: &a {S}",
    f"<td>Password</td> <td class='x'>{S}</td>",
    f"<dt>Password</dt><dd><code>{S}</code></dd>",
    f'{{"auths": {{"registry": {{"auth": "{S}"}}}}}}',
]
COLOURED_OR_EMPHASIZED = [
    f"\x1b[36mpass\x1b[0m=\x1b[35m{S}\x1b[0m",
    f'\x1b[94m"token"\x1b[39;49;00m:\x1b[37m \x1b[39;49;00m\x1b[33m"{S}"\x1b[39;49;00m',
    f"\x1b[36mCookie\x1b[39;49;00m: a=1; b={S}",
    f"\\x1b[36mpassword\\x1b[0m=\\x1b[35m{S}\\x1b[0m",
    f"*Password:* {S}",
    f"**Password**: {S}",
    f"__Password:__ {S}",
    f"*Password:*\n{S}",
    f"<LABEL for=x>Password:</LABEL> {S}",
    f"<b>Password:</b> {S}",
    f"<b>Password</b>: <i>{S}</i>",
    f"Password:&nbsp;{S}",
]
KNOWN_BY_THEIR_FORM = [
    KEY,
    KEY.replace("\n", "\\n"),
    f"private_key={KEY}",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{S}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJo.{S}",
    f"ghp_{S}{S}",
    f"sk_live_{S}{S}",
    f"xoxb-123-{S}-abc",
    f"hvs.{S}{S}",
    f"shpat_{S}{S}",
    f"https://hooks.slack.com/services/T0/B0/{S}",
    f"https://api.telegram.org/bot12345678:{S}{S}/sendMessage",
    f"https://shop.blob.core.windows.net/a?se=2026&sig={S}{S}%3D",
    f"https://{S}@example.com/path",
    f"https://{S}:@example.com/",
    f"https://{S}:x-oauth-basic@github.com/",
    f"amqp://user:ab/{S}@queue/",
    f"postgres://shop:p#{S}@db/shop",
    f'"https:\\/\\/ann:{S}@example.com\\/"',
    f"https:\\u002F\\u002Fann:{S}@example.com",
    f"?next=https%3A%2F%2Fann%3A{S}%40example.com%2F",
    f"https://hooks.slack.com/workflows/T0/A0/{S}",
    f"https://hooks.zapier.com/hooks/catch/1/{S}/",
    f"https://a.webhook.office.com/webhookb2/{S}@b/IncomingWebhook/{S}/c",
    f"https://chat.example.com/hooks/{S}{S}abcdef",
    f"//registry.npmjs.org/:_auth={S}=",
    f"glptt-{S}{S}",
    f"sntrys_{S}{S}",
    f"lin_api_{S}{S}",
    f"PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\n{S}\nPrivate-MAC: 0a",
    f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{S}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
]


@pytest.mark.parametrize(
    "text",
    [
        *AUTHORIZATIONS,
        *NAMES,
        *ARGUMENTS,
        *SOURCES,
        *DOCUMENTS,
        *COLOURED_OR_EMPHASIZED,
        *KNOWN_BY_THEIR_FORM,
    ],
)
def test_secrets_are_found_in_their_usual_shapes(text: str) -> None:
    clean = mask_secrets(text)
    assert S not in clean
    assert MARK in clean
    assert mask_secrets(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "token_count=5 tokens: 5 max_tokens: 4096, tokens=1.5k, {'total_tokens': 42, 'x': 1}",
        "password_reset_url=/a/b password_file=/run/secrets/x",
        "the tokens were parsed, the token expired, Token expired",
        "pass = True, password=None, use_token: false",
        "compass=north bypass=1 passes=3 passing=5 passed: 5 tests",
        "Bearer token is missing. Basic auth failed",
        "ssh://git@github.com/a/b postgres://shop@db/shop http://example.com:80/a@b",
        "https://example.com/a?mail=ann@example.com",
        "usage: login <user> <password> [--token-count 5]",
        "the option --password is required; required: --password, --user",
        "keys=['a'] key: value monkey=3 public_key=abc primary_key=5 keyboard: x",
        "Digest: sha256:abc, digest sha256:9f86d081884c7d65",
        "name: password",
        "fields: ['password', 'email'], required=['token', 'shop']",
        "id=5, type=shop, name=x, value=5, token, new=6",
        'WWW-Authenticate: Bearer realm="shop"',
        "token_type=Bearer expires_in=3600",
        "sig=15, signature: (a, b), Key (shop, name)=(5, x) already exists.",
        'form-data; name="file"\r\n\r\nabc',
        "http://[::1]:8000/static/@scope/a.js https://[2001:db8::1]/users/@me",
        "GET http://[::1]/mail?to=a@b.org",
        "PWD=/home/bob OLDPWD=/home, {'PWD': '/home/bob'}",
        "password='' tokens=[] cookies={} {'secret': \"\"} password=***",
        "Unexpected token: '}', tokens=5/100",
        "if token:\n    try:\n        return x\n",
        "Tokens:\n  the list of all of them\nInvalid password:\n- must be longer than that",
        "docker run --user 1000:1000 x; usage: --user USER",
        "<td>Name</td><td>Bob</td> the *password* is required",
        "?next=https%3A%2F%2Fexample.com%3A80%2Fa%40b",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    ],
)
def test_similar_words_are_no_secrets(text: str) -> None:
    assert mask_secrets(text) == text


def test_the_rest_of_a_line_stays() -> None:
    assert mask_secrets(f"\x1b[36mtoken\x1b[0m=\x1b[35m{S}\x1b[0m x") == (
        f"\x1b[36mtoken\x1b[0m=\x1b[35m{MARK}\x1b[0m x"
    )
    assert mask_secrets(f"a:\n  tokens:\n  - {S}\n  b: c") == f"a:\n  tokens:\n  {MARK}\n  b: c"
    assert mask_secrets(f"['curl', '--password', '{S}', 'x']") == (
        f"['curl', '--password', {MARK}, 'x']"
    )
    assert mask_secrets(f"f(password={S}), y") == f"f(password={MARK}), y"
    assert mask_secrets(f"('token', '{S}') [token={S}] x") == f"('token', {MARK}) [token={MARK}] x"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"passwords": {"ann": 1}}, {"passwords": MARK}),
        ({"tokens": 5, "token": 5}, {"tokens": 5, "token": MARK}),
        ({"use_token": True, "password": None}, {"use_token": True, "password": None}),
        (["--password", S, "x", "--token"], ["--password", MARK, "x", "--token"]),
        ([["Authorization", f"Bearer {S}"], ["a", "b"]], [["Authorization", MARK], ["a", "b"]]),
        ([{"name": "DB_PASSWORD", "value": S}], [{"name": "DB_PASSWORD", "value": MARK}]),
        ({"Key": "Password", "Value": S}, {"Key": "Password", "Value": MARK}),
        ({"type": "password", "initial": S}, {"type": "password", "initial": MARK}),
        ({"Key": "Shop", "Value": S}, {"Key": "Shop", "Value": S}),
        ((f"password={S}",), [f"password={MARK}"]),
        ({f"password={S}": b"x"}, {f"password={MARK}": "b'x'"}),
        ({"token=a": 1, "token=b": 2}, {f"token={MARK}": 1, f"token={MARK} (2)": 2}),
        ([["user", "ann"], ["password", S], ["x"]], [["user", "ann"], ["password", MARK], ["x"]]),
        ({"password": "", "tokens": [], "PWD": "/a"}, {"password": "", "tokens": [], "PWD": "/a"}),
        ({"apiKey": S, "DB_PASS": S}, {"apiKey": MARK, "DB_PASS": MARK}),
    ],
)
def test_secrets_are_found_in_json(value: Any, masked: Any) -> None:
    assert mask_secrets_in_json(value) == masked


def test_json_of_any_depth_is_masked() -> None:
    value: Any = S
    for _ in range(900):
        value = [value]
    assert S not in str(mask_secrets_in_json(value))
