"""The decoder of the judge, by hand: what is accepted, what is rejected by which rule, what is equal.

    python -m unittest discover -s tests/judge
"""
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from decode import PLACES, Number, decode, time_of  # noqa: E402

PURCHASE = {"event_id": "e", "event_type": "purchase", "event_time": "2024-03-01T10:00:00Z", "session_id": "s", "order_id": "o",
            "product_id": "p", "quantity": 1, "price_paid": 2}


def line(text="", **changes):
    record = {key: value for key, value in (PURCHASE | changes).items() if value is not ...}
    return (json.dumps(record)[:-1] + text + "}").encode()


class Decoding(unittest.TestCase):
    def check(self, given, expected):
        found = decode(given)
        self.assertEqual(" ".join(filter(None, [found.rule, found.name])) or "ok", expected, given[:200])
        return found

    def test_rules(self):
        refund = {"event_type": "refund", "session_id": ..., "price_paid": ..., "amount": 5}
        for changes, expected in [
                ({}, "ok"), ({"event_id": ""}, "missing_field event_id"), ({"event_id": None}, "missing_field event_id"),
                ({"order_id": 1.0}, "ok"), ({"order_id": 1.5}, "wrong_type order_id"), ({"session_id": True}, "wrong_type session_id"),
                ({"event_time": "now"}, "unparsable_time event_time"), ({"event_time": 7}, "wrong_type event_time"),
                ({"event_time": "1969-12-31T23:59:59Z"}, "time_out_of_range event_time"),
                ({"received_at": "2024-03-01T09:55:00Z"}, "ok"),
                ({"received_at": "2024-03-01T09:54:59.999999Z"}, "future_time event_time"),
                ({"event_type": "wish"}, "unknown_event_type event_type"), ({"event_type": None}, "unknown_event_type event_type"),
                ({"quantity": 2.0}, "ok"), ({"quantity": 2.5}, "wrong_type quantity"), ({"quantity": "2"}, "wrong_type quantity"),
                ({"quantity": 2 ** 31}, "number_out_of_range quantity"), ({"quantity": ...}, "missing_field quantity"),
                ({"price_paid": -0.01}, "negative_price price_paid"), ({"price_paid": -0.001}, "ok"),
                ({"price_paid": -1, "quantity": -1}, "ok"), ({"quantity": -1}, "wrong_sign price_paid"),
                ({"unit_price": -1}, "negative_price unit_price"), ({"unit_price": -1, "quantity": -1, "price_paid": 0}, "ok"),
                ({"price_paid": 10 ** 11}, "ok"), ({"price_paid": 10 ** 11 + 1}, "number_out_of_range price_paid"),
                ({"price_paid": 10 ** 13, "currency": "JPY"}, "ok"), ({"price_paid": 10 ** 9, "currency": "clf"}, "ok"),
                ({"price_paid": 10 ** 9 + 1, "currency": "UYW"}, "number_out_of_range price_paid"),
                ({"unit_price": 10 ** 11, "quantity": 2}, "number_out_of_range unit_price"),
                ({"currency": "XAU"}, "wrong_type currency"), ({"currency": "ABC"}, "wrong_type currency"), ({"currency": "hrk"}, "ok"),
                ({"currency": ""}, "ok"), ({"discount_code": 7}, "wrong_type discount_code"),
                (refund, "ok"), (refund | {"product_id": ..., "quantity": ...}, "ok"), (refund | {"amount": -5}, "wrong_sign amount"),
                (refund | {"quantity": -1}, "wrong_sign quantity"), (refund | {"amount": ...}, "missing_field amount"),
                ({"event_type": "add_to_cart", "quantity": -1}, "wrong_sign quantity"),
                ({"event_type": "add_to_cart", "unit_price": -1}, "negative_price unit_price"),
                ({"event_type": "page_view"}, "missing_field page_type"),
                ({"event_type": "product"}, "missing_field updated_at")]:
            self.check(line(**changes), expected)
        for given, expected in [(b"", "malformed_json"), (b"[]", "malformed_json"), (b"{\xff}", "invalid_utf8"),
                                (line(',"event_id":1'), "duplicate_key event_id"), (line(',"x":1,"x":1'), "duplicate_key"),
                                (line(',"x":NaN'), "malformed_json"), (line(',"x":"\\ud800"'), "malformed_json"),
                                (line(',"x":' + "[" * 126 + "]" * 126), "ok"), (line(',"x":' + "[" * 127 + "]" * 127), "malformed_json")]:
            self.check(given, expected)

    def test_content(self):
        def content(text="", **changes):
            return self.check(line(text, **changes), "ok").content
        same = content()
        for text, changes in [("", {"price_paid": 2.0}), (',"x":null', {}), (',"x":""', {}), ("", {"quantity": 1.0}),
                              ("", {"currency": "usd"}), ("", {"event_time": "2024-03-01T11:00:00.0+01:00"}),
                              ("", {"received_at": "2024-03-01T10:00:00Z"}), ("", {"user_id": ""})]:
            self.assertEqual(content(text, **changes), same, (text, changes))
        for a, b, equal in [("30.37", "30.3700", True), ("30.37", "3.037e1", True), ('{"a":1,"b":[2]}', '{"b":[2.0],"a":1}', True),
                            ('{"a":null}', "{}", True), ("[1,2]", "[2,1]", False), ("1", '"1"', False), ("{}", "null", False),
                            ("1e400", "1e401", False), ('"2024-03-01T10:00:00Z"', '"2024-03-01T11:00:00+01:00"', False)]:
            self.assertEqual(content(f',"x":{a}') == content(f',"x":{b}'), equal, (a, b))
        self.assertEqual(content(',"updated_at":"2024-03-01T10:00:00Z"'), content(',"updated_at":"2024-03-01T11:00:00+01:00"'))

    def test_money(self):
        for text, places, expected in [("1.005", 2, (100, True)), ("1.015", 2, (102, True)), ("1.0050001", 2, (101, True)),
                                       ("-2.5", 0, (-2, True)), ("15.3000", 2, (1530, False)), ("1.75e2", 2, (17500, False)),
                                       ("0e9", 2, (0, False)), ("1e-99999", 2, (0, True)), ("0.5", 0, (0, True)),
                                       ("0.51", 0, (1, True)), ("12.34565", 4, (123456, True))]:
            self.assertEqual(Number(text).minor_units(places), expected, text)

    def test_times(self):
        for text, expected in [("1970-01-01T00:00:00Z", 0), ("1970-01-01 01:00:00+01:00", 0), ("1970-01-01t00:00:00.1234567z", 123456),
                               ("1970-01-01T00:00:60Z", 59_000_000), ("1970-02-29T00:00:00Z", None), ("1970-01-01T00:00:00", None),
                               ("1970-01-01T24:00:00Z", None), ("1970-01-01T00:00:00+24:00", None)]:
            self.assertEqual(time_of(text), expected, text)

    def test_currencies(self):
        self.assertEqual({code: PLACES.get(code) for code in ("USD", "JPY", "KWD", "CLF", "UYW", "UYI", "HRK", "XAU", "XXX")},
                         {"USD": 2, "JPY": 0, "KWD": 3, "CLF": 4, "UYW": 4, "UYI": 0, "HRK": 2, "XAU": None, "XXX": None})


if __name__ == "__main__":
    unittest.main()
