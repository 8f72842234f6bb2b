"""From lines to verdicts and typed columns, by docs/guide.md alone: nothing of the engine's is used.

JSON is Python's, numbers are exact (digits and a power of ten), currencies are those of the maintenance agency's table as the
package iso4217 has it. `decode(line)` gives a `Decoded`; `rows_of(files)` those of all lines of all files.
"""
import datetime
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import iso4217

LIMIT = 10 ** 13
PLACES_OF_MONEY = 4
MICROS = 1_000_000
MAX_FUTURE = 300 * MICROS
LATEST = 7_258_118_400 * MICROS  # 2200-01-01
PAGES = {"home", "category", "product_detail", "cart", "checkout", "search", "other"}

WITHDRAWN = {code: 2 for code in """AFA ANG ATS AYM AZM BGL BGN CSD CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MZM
    NLG RUR SDD SIT SKK SLL SRG STD TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR""".split()}
WITHDRAWN |= {code: 0 for code in "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL".split()}


def places_of_all():
    """{code: decimal places}, today's and withdrawn ones; those without a minor unit are none."""
    entries = [(node.findtext("Ccy"), node.findtext("CcyMnrUnts")) for node in iso4217.raw_xml.iter("CcyNtry")]
    return WITHDRAWN | {code: int(places) for code, places in entries if code and places.isdigit()}


PLACES = places_of_all()


class Fault(Exception):
    def __init__(self, rule, name=None):
        super().__init__(rule, name)
        self.rule, self.name = rule, name


class Number(str):
    """The digits of a JSON number as they stand."""

    def exact(self):
        """(negative, significant digits, exponent), one for every value."""
        sign, whole, fraction, exponent = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", self).groups()
        digits = (whole + (fraction or "")).lstrip("0")
        exponent = int(exponent or 0) - len(fraction or "") + len(digits) - len(digits.rstrip("0"))
        digits = digits.rstrip("0")
        return (sign == "-", digits, exponent) if digits else (False, "0", 0)

    def whole(self):
        """Its value; None where it is not whole. Beyond what anything here takes it is only large."""
        negative, digits, exponent = self.exact()
        if exponent < 0:
            return None
        value = int(digits[:40]) * 10 ** min(exponent + max(0, len(digits) - 40), 60)
        return -value if negative else value

    def minor_units(self, places):
        """(amount, whether digits were rounded away), half to even."""
        negative, digits, exponent = self.exact()
        if digits == "0":
            return 0, False
        shift = exponent + places
        if shift >= 0:
            amount, rounded = int(digits[:40]) * 10 ** min(shift + max(0, len(digits) - 40), 60), False
        else:
            kept = max(0, len(digits) + shift)
            amount, rest = int(digits[:kept][:60] or 0), "0" * max(0, -shift - len(digits)) + digits[kept:]
            half = "5".ljust(len(rest), "0")
            amount += rest > half or (rest == half and amount % 2 == 1)
            rounded = True
        return (-amount if negative else amount), rounded


class Pairs(list):
    """The members of a JSON object, every one."""


def parse(line):
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Fault("invalid_utf8")

    def refuse(text):
        raise ValueError(text)
    try:
        record = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        raise Fault("malformed_json")
    if not isinstance(record, Pairs) or depth(record) > 127 or halved(record):
        raise Fault("malformed_json")
    keys = [key for key, _ in record]
    twice = [key for key in keys if keys.count(key) > 1] if len(set(keys)) < len(keys) else []
    if twice:
        raise Fault("duplicate_key", twice[0] if twice[0] in KNOWN else None)
    return {key: value for key, value in record if value is not None}


def depth(value):
    if isinstance(value, Pairs):
        return 1 + max((depth(member) for _, member in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def halved(value):
    """Whether a text holds half a surrogate pair."""
    if isinstance(value, Pairs):
        return any(halved(key) or halved(member) for key, member in value)
    if isinstance(value, list):
        return any(map(halved, value))
    return isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value)


def time_of(text):
    """Microseconds since 1970, or None."""
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", text, re.ASCII)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    offset = (int(offset_hours) * 60 + int(offset_minutes)) * (-1 if sign == "-" else 1) if sign else 0
    if hour > 23 or minute > 59 or second > 60 or (sign and (int(offset_hours) > 23 or int(offset_minutes) > 59)):
        return None
    try:
        # The year 0 is one, but no time in it is taken.
        days = datetime.date(max(year, 1), month, day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    seconds = days * 86400 + hour * 3600 + minute * 60 + min(second, 59) - offset * 60
    return seconds * MICROS + int((fraction or "0")[:6].ljust(6, "0"))


@dataclass
class Decoded:
    rule: str = None
    name: str = None
    values: dict = field(default_factory=dict)
    warnings: list = field(default_factory=list)
    content: str = None


REQUIRED_TEXT, TEXT, REQUIRED_ID, ID = "required text", "text", "required id", "id"
KNOWN = set("""event_id event_type event_time received_at session_id user_id product_id order_id page_type referrer device
    quantity price_paid amount unit_price currency discount_code reason updated_at name category brand price cost country
    channel signup_time on_hand reserved lead_time_days deleted""".split())
TIMES = {"event_time", "updated_at", "signup_time"}


class Reader:
    """One record, field by field, in the order in which faults are looked for."""

    def __init__(self, record, default_currency):
        self.record, self.default_currency = record, default_currency
        self.values, self.warnings, self.used = {}, [], {"event_type", "received_at"}

    def text(self, name, required=False, ids=False):
        self.used.add(name)
        value = self.record.get(name, "")
        if isinstance(value, Number) and ids:
            if re.fullmatch(r"-?\d+", value):
                value = str(value)
            else:
                negative, digits, exponent = value.exact()
                if not 0 <= exponent <= 64 or len(digits) + exponent > 64:
                    raise Fault("wrong_type", name)
                value = "-" * negative + digits + "0" * exponent
        if isinstance(value, Number) or not isinstance(value, str):
            raise Fault("wrong_type", name)
        if required and value == "":
            raise Fault("missing_field", name)
        self.values[name] = value or None
        return value

    def id(self, name, required=False):
        return self.text(name, required, ids=True)

    def time(self, name, required=False):
        self.used.add(name)
        value = self.record.get(name)
        if value is None:
            if required:
                raise Fault("missing_field", name)
            return None
        if isinstance(value, Number) or not isinstance(value, str):
            raise Fault("wrong_type", name)
        micros = time_of(value)
        if micros is None:
            raise Fault("unparsable_time", name)
        if not 0 <= micros < LATEST or value.startswith("0000"):
            raise Fault("time_out_of_range", name)
        self.values[name] = micros
        return micros

    def number(self, name):
        self.used.add(name)
        value = self.record.get(name)
        if value is not None and not isinstance(value, Number):
            raise Fault("wrong_type", name)
        return value

    def whole(self, name, least, most, required=False):
        number = self.number(name)
        if number is None:
            if required:
                raise Fault("missing_field", name)
            return None
        value = number.whole()
        if value is None:
            raise Fault("wrong_type", name)
        if not least <= value <= most:
            raise Fault("number_out_of_range", name)
        self.values[name] = value
        return value

    def quantity(self, required, may_be_negative):
        value = self.whole("quantity", -2 ** 31, 2 ** 31 - 1, required)
        if value == 0:
            self.warnings.append("quantity_zero")
        if value is not None and value < 0 and not may_be_negative:
            raise Fault("wrong_sign", "quantity")
        self.values["quantity"] = value or 0

    def currency(self):
        code = self.text("currency").upper() or self.default_currency
        if code not in PLACES or not re.fullmatch("[A-Z]{3}", code):
            raise Fault("wrong_type", "currency")
        self.values["currency"] = code

    def money(self, name, currency, required=False):
        """In minor units; the values are in ten-thousandths of the unit, whatever the currency."""
        number = self.number(name)
        if number is None:
            if required:
                raise Fault("missing_field", name)
            return None
        amount, rounded = number.minor_units(PLACES[currency])
        if abs(amount) > LIMIT:
            raise Fault("number_out_of_range", name)
        if rounded and "amount_rounded" not in self.warnings:
            self.warnings.append("amount_rounded")
        self.values[name] = amount * 10 ** (PLACES_OF_MONEY - PLACES[currency])
        return amount

    def unit_price(self, currency):
        price = self.money("unit_price", currency)
        quantity = self.values["quantity"]
        if price is not None and price < 0 and quantity >= 0:
            raise Fault("negative_price", "unit_price")
        if price is not None and abs(price * quantity) > LIMIT:
            raise Fault("number_out_of_range", "unit_price")

    def flag(self, name):
        self.used.add(name)
        value = self.record.get(name, False)
        if not isinstance(value, bool):
            raise Fault("wrong_type", name)
        self.values[name] = value

    def read(self):
        kind = self.text("event_type")
        if kind not in ("page_view", "add_to_cart", "remove_from_cart", "checkout_started", "purchase", "refund", "product",
                        "user", "inventory"):
            raise Fault("unknown_event_type", "event_type")
        received = self.time("received_at")
        if kind in ("product", "user", "inventory"):
            self.dimension(kind)
            return
        self.id("event_id", required=True)
        if self.time("event_time", required=True) > (LATEST if received is None else received + MAX_FUTURE):
            raise Fault("future_time", "event_time")
        if kind != "refund":
            self.id("session_id", required=True)
        self.id("user_id")
        if kind == "page_view":
            self.id("product_id")
            page = self.text("page_type", required=True)
            page = "product_detail" if page == "product" else page
            if page not in PAGES:
                self.warnings.append("unknown_page_type")
                page = "other"
            self.values["page_type"] = page
            self.text("referrer")
            self.text("device")
        elif kind in ("add_to_cart", "remove_from_cart"):
            self.id("product_id", required=True)
            self.quantity(True, False)
            self.unit_price(self.default_currency)
        elif kind == "purchase":
            self.id("product_id", required=True)
            self.id("order_id", required=True)
            self.quantity(True, True)
            self.currency()
            paid = self.money("price_paid", self.values["currency"], required=True)
            if paid < 0 <= self.values["quantity"]:
                raise Fault("negative_price", "price_paid")
            if paid > 0 > self.values["quantity"]:
                raise Fault("wrong_sign", "price_paid")
            self.unit_price(self.values["currency"])
            self.text("discount_code")
        elif kind == "refund":
            self.id("product_id")
            self.id("order_id", required=True)
            self.quantity(False, False)
            self.currency()
            if self.money("amount", self.values["currency"], required=True) < 0:
                raise Fault("wrong_sign", "amount")
            self.text("reason")

    def dimension(self, kind):
        self.id("user_id" if kind == "user" else "product_id", required=True)
        self.time("updated_at", required=True)
        if kind == "product":
            for name in ("name", "category", "brand"):
                self.text(name)
            for name in ("price", "cost"):
                self.money(name, self.default_currency)
            self.flag("deleted")
        elif kind == "user":
            for name in ("country", "channel"):
                self.text(name)
            self.time("signup_time")
            self.flag("deleted")
        else:
            for name in ("on_hand", "reserved", "lead_time_days"):
                self.whole(name, -LIMIT, LIMIT, required=name == "on_hand")


def meaning(value):
    """A leftover value without its spelling; None where it is none."""
    if value is None or (value == "" and not isinstance(value, Number)):
        return None
    if isinstance(value, Number):
        return {"number": list(value.exact())}
    if isinstance(value, Pairs):
        members = [[key, meaning(member)] for key, member in value]
        return {"object": sorted((m for m in members if m[1] is not None), key=lambda member: member[0])}
    if isinstance(value, list):
        return {"array": [meaning(member) for member in value]}
    return value


def content_of(reader):
    """What makes two records equal, as text."""
    known = {name: value for name, value in reader.values.items() if name != "received_at" and value is not None}
    left = {}
    for name, value in reader.record.items():
        if name in reader.used:
            continue
        meant = meaning(value)
        if name in TIMES and isinstance(meant, str) and time_of(meant) is not None:
            meant = {"time": time_of(meant)}
        if meant is not None:
            left[name] = meant
    return json.dumps([known, left], sort_keys=True)


def decode(line, default_currency="USD"):
    reader = None
    try:
        reader = Reader(parse(line), default_currency)
        reader.read()
    except Fault as fault:
        values = {"received_at": reader.values.get("received_at")} if reader else {}
        return Decoded(fault.rule, fault.name, values)
    return Decoded(None, None, reader.values, reader.warnings, content_of(reader))


COLUMNS = {"position": "BIGINT", "source": "VARCHAR", "rule": "VARCHAR", "field": "VARCHAR", "event_type": "VARCHAR",
           "event_id": "VARCHAR", "t": "BIGINT", "updated_at": "BIGINT", "received_at": "BIGINT", "session_id": "VARCHAR",
           "user_id": "VARCHAR", "order_id": "VARCHAR", "product_id": "VARCHAR", "quantity": "BIGINT", "price_paid": "BIGINT",
           "unit_price": "BIGINT", "amount": "BIGINT", "currency": "VARCHAR", "page_type": "VARCHAR", "referrer": "VARCHAR",
           "device": "VARCHAR", "category": "VARCHAR", "deleted": "BOOLEAN", "content": "VARCHAR", "warnings": "VARCHAR"}


def lines_of(path):
    """The records of a file: no blank lines, no byte order mark at its start."""
    content = Path(path).read_bytes()
    content = content[3:] if content.startswith(b"\xef\xbb\xbf") else content
    return [line for line in (line.rstrip(b"\r") for line in content.split(b"\n")) if line.strip(b" \t")]


def rows_of(files, default_currency="USD"):
    """A row of COLUMNS for every line of every file, in reading order."""
    position = 0
    for path in files:
        for line in lines_of(path):
            position += 1
            decoded = decode(line, default_currency)
            values = dict(decoded.values)
            values["t"] = values.pop("event_time", None)
            row = {name: values.get(name) for name in COLUMNS}
            yield row | {"position": position, "source": str(Path(path).resolve()), "rule": decoded.rule,
                         "field": decoded.name, "content": decoded.content, "warnings": ",".join(decoded.warnings)}
