"""Generates a small shop whose data is awkward on purpose.

Writes products.jsonl, users.jsonl and events.jsonl into OUTDIR. Every kind of case that docs/metrics.md defines and that is
easy to get wrong occurs many times: see the functions below, one per kind of case. The same arguments give the same
bytes. It shares no code with the engine, its generator or its oracles.

    python make_data.py OUTDIR --seed 1 --events 20000 [--currencies]
"""
import argparse
import datetime
import json
import random
from pathlib import Path

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DAYS = 40
EPOCH = datetime.datetime(1970, 1, 1)

CATEGORIES = ["shoes", "Shoes", "Home, Garden", 'Café "Ä"', "электроника", "a/b.c", "toys", "(none)"]
PAGES = ["home", "category", "search", "cart", "other", "checkout"]
REFERRERS = ["google", "newsletter", "Google", "direct", "réseau, social", ""]
DEVICES = ["mobile", "desktop", "tablet"]
DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4, "HRK": 2}
LIMIT = 10 ** 13  # minor units of one line


def micros(*args):
    return int((datetime.datetime(*args) - EPOCH).total_seconds()) * SECOND


class Maker:
    def __init__(self, seed, events, currencies, around=None):
        self.random = random.Random(seed)
        self.wanted = events
        self.currencies = currencies
        # Both spans cross a month end and a change of the clock in Europe: forward (even seeds) or back (odd seeds).
        self.start = micros(2024, 3, 1) if seed % 2 == 0 else micros(2024, 10, 5)
        self.clock_change = micros(2024, 3, 31, 1) if seed % 2 == 0 else micros(2024, 10, 27, 1)
        if around:  # a change of another clock
            self.clock_change = int(datetime.datetime.fromisoformat(around).timestamp()) * SECOND
            self.start = self.clock_change // DAY * DAY - DAYS // 2 * DAY
        self.end = self.start + DAYS * DAY
        self.events = []
        self.sold = []  # (order_id, product_id, time, currency)
        self.counter = {"event": 0, "session": 0, "order": 0}
        self.product_ids = self.make_product_ids()
        self.weights = [1 / (i + 1) ** 0.6 for i in range(len(self.product_ids))]
        self.version_times = []  # (product_id, updated_at): sales at exactly that time are made on purpose
        self.user_ids = [f"u{i}" if i % 5 else str(9000 + i) for i in range(max(20, events // 60))]

    # --- small helpers -------------------------------------------------------------------------------------------

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(items)

    def product(self):
        return self.random.choices(self.product_ids, self.weights)[0]

    def user(self):
        return None if self.chance(0.3) else self.pick(self.user_ids)

    def next_id(self, kind):
        self.counter[kind] += 1
        number = self.counter[kind]
        if kind == "event":
            return str(70_000_000 + number) if number % 17 == 0 else f"e-{number:06d}"
        if kind == "session":
            return str(5_000_000 + number) if number % 13 == 0 else f"s{number}"
        return str(536_000 + number) if number % 3 == 0 else f"O-{number}"

    def some_time(self):
        kind = self.random.random()
        if kind < 0.18:  # around midnight
            time = self.start + self.random.randrange(1, DAYS) * DAY + self.random.randrange(-2 * HOUR, 2 * HOUR)
        elif kind < 0.24:  # around the change of the clock
            time = self.clock_change + self.random.randrange(-2 * HOUR, 2 * HOUR)
        elif kind < 0.27:  # exactly on the hour, the day or the month
            time = self.start + self.random.randrange(1, DAYS * 24) * HOUR
            return time if self.chance(0.5) else time // DAY * DAY
        else:
            time = self.random.randrange(self.start, self.end)
        return time if self.chance(0.1) else time // SECOND * SECOND

    def gap(self):
        return self.pick([0, 0, 0, 1, 1, 5, 30, 90, 300, 1200]) * SECOND

    def text_of_time(self, time):
        """RFC 3339, mostly in UTC, sometimes with an offset, with as few or as many digits as it needs or likes."""
        offset = self.pick([120, -330, 60, 0]) if self.chance(0.05) else None
        moment = EPOCH + datetime.timedelta(microseconds=time + (offset or 0) * MINUTE)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        fraction = time % SECOND
        if fraction % 1000:
            text += f".{fraction:06d}"
        elif fraction:
            text += f".{fraction // 1000:03d}"
        elif self.chance(0.2):
            text += self.pick([".000", ".000000"])
        if offset is None:
            return text + "Z"
        return text + f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"

    def text_or_number(self, text):
        if text.isdigit() and self.chance(0.4):
            return float(text) if self.chance(0.1) else int(text)  # written with a fraction of 0
        return text

    def amount(self, currency, low=1, high=20_000):
        """A decimal in major units; sometimes with more places than the currency has, exact halves among them."""
        digits = DIGITS[currency]
        minor = self.random.randrange(low, high)
        if self.chance(0.06):
            return float(f"{minor}{self.pick('5555123456789')}e-{digits + 1}")
        return float(f"{minor}e-{digits}") if digits else minor

    def add(self, event_type, time, **fields):
        record = {"event_id": self.text_or_number(self.next_id("event")), "event_type": event_type,
                  "event_time": self.text_of_time(time)}
        for name, value in fields.items():
            if value is None:
                if self.chance(0.03):
                    record[name] = None  # a present null is an absent field
                continue
            record[name] = self.text_or_number(value) if name.endswith("_id") else value
        if self.chance(0.03):
            record["experiment"] = self.pick(["A", "Bé", 7, {"arm": "x", "cell": [1, 2]}, 30.37, "",
                                              {"b": {"d": 1.5, "c": [1, None, {"y": 2, "x": "z"}]}, "a": -0.001}])
        if self.chance(0.2):  # when a transport got it; seldom a little before it happened, sometimes late
            received = time + self.pick([-300, -20, 0, 2, 2, 60, 599, 600, 601, 3_600, 90_000]) * SECOND
            record["received_at"] = self.text_of_time(received)
        if "quantity" in record and self.chance(0.05):
            record["quantity"] = float(record["quantity"])
        if self.chance(0.1):  # arrival disturbs the order of events
            time += self.random.randrange(-DAY, 3 * DAY)
        self.events.append((time, self.random.random(), record))

    # --- dimensions ----------------------------------------------------------------------------------------------

    def make_product_ids(self):
        count = max(60, min(420, self.wanted // 40))
        ids = []
        for i in range(count):
            ids.append([f"p{i}", f"P{i - 1}a", f"p{i - 2}A", str(1000 + i), f"é-{i}", f"sku,{i}", f"p{i}"][i % 7])
        return sorted(dict.fromkeys(ids), key=lambda text: self.random.random())

    def make_products(self):
        records = []
        for index, product_id in enumerate(self.product_ids):
            versions = self.pick([0, 1, 1, 1, 2, 3, 4, 5, 6])
            time = None
            for number in range(versions):
                if time is None or not self.chance(0.25):  # else: the same updated_at again
                    time = self.random.randrange(self.start - 10 * DAY, self.end + 6 * DAY) // SECOND * SECOND
                self.version_times.append((product_id, time))
                record = {"event_type": "product", "product_id": self.text_or_number(product_id),
                          "updated_at": self.text_of_time(time), "name": f"thing {index} v{number}"}
                kind = self.random.random()
                if kind < 0.12:
                    record["deleted"] = True  # without category: the one before it stays
                elif kind < 0.17:
                    record["deleted"] = True
                    record["category"] = self.pick(CATEGORIES)
                elif kind < 0.27:
                    if self.chance(0.5):
                        record["category"] = self.pick([None, ""])
                else:
                    record["category"] = self.pick(CATEGORIES)
                if self.chance(0.2):
                    record["deleted"] = record.get("deleted", False)
                if self.chance(0.5):
                    record["price"] = self.amount("USD")
                if self.chance(0.3):
                    record["brand"] = self.pick(["acme", "Müller"])
                records.append(record)
                if self.chance(0.08):
                    records.append(self.copy_of(record))
        self.random.shuffle(records)
        # A, B, A with one updated_at: the second A is a duplicate and changes nothing, so B stays.
        for product_id in self.product_ids[:40:4]:
            time = self.text_of_time(self.random.randrange(self.start, self.end) // SECOND * SECOND)
            pair = [{"event_type": "product", "product_id": product_id, "updated_at": time, "category": category}
                    for category in self.random.sample(CATEGORIES, 2)]
            place = self.random.randrange(len(records))
            records[place:place] = [pair[0], pair[1], self.copy_of(pair[0])]
        known = [r["product_id"] for r in records]
        for _ in range(12):
            records.insert(self.random.randrange(len(records)), {
                "event_type": "inventory", "product_id": self.pick(known), "on_hand": self.random.randrange(50),
                "updated_at": self.text_of_time(self.some_time())})
        bad = [{"event_type": "product", "product_id": "p0", "category": "lost"},
               {"event_type": "product", "updated_at": "2024-03-05T00:00:00Z", "category": "lost"},
               {"event_type": "product", "product_id": self.product_ids[0], "updated_at": "last week", "category": "lost"},
               {"event_type": "product", "product_id": "", "updated_at": "2024-03-05T00:00:00Z", "category": "lost"}]
        for record in bad:
            records.insert(self.random.randrange(len(records)), record)
        return records

    def make_users(self):
        records = []
        for user_id in self.user_ids:
            for number in range(self.pick([0, 1, 1, 2])):
                record = {"event_type": "user", "user_id": self.text_or_number(user_id),
                          "updated_at": self.text_of_time(self.some_time()), "country": self.pick(["CH", "DE", "JP"])}
                if self.chance(0.1):
                    record["deleted"] = True
                records.append(record)
                if self.chance(0.1):
                    records.append(self.copy_of(record))
        records.insert(3, {"event_type": "user", "user_id": "u1", "updated_at": "2024-13-01T00:00:00Z"})
        return records

    def copy_of(self, record):
        """An equal record: the same bytes, or with keys in another order at any depth, another spelling of numbers and of the
        currency, with nulls and empty texts added."""
        items = list(record.items())
        if self.chance(0.5):
            self.random.shuffle(items)
        copy = dict(items)
        if self.chance(0.1):
            copy.setdefault("reason" if "order_id" in record else "brand", self.pick([None, ""]))
        if self.chance(0.1):
            copy.setdefault("note", self.pick([None, ""]))
        if copy.get("currency") and self.chance(0.5):
            copy["currency"] = copy["currency"].lower()
        return self.respelled(copy) if self.chance(0.5) else copy

    def respelled(self, value):
        if isinstance(value, dict):
            items = [(key, self.respelled(member)) for key, member in value.items()]
            self.random.shuffle(items)
            return dict(items)
        if isinstance(value, list):
            return [self.respelled(member) for member in value]
        if isinstance(value, int) and not isinstance(value, bool) and self.chance(0.5):
            return float(value)
        return value

    # --- orders --------------------------------------------------------------------------------------------------

    def currency(self):
        return self.random.choices(list(DIGITS), [10, 6, 4, 2, 1, 1])[0] if self.currencies else "USD"

    def shown(self, currency):
        return None if currency == "USD" and self.chance(0.7) else currency

    def sold_line(self, session_id, user_id, order_id, product_id, time, currency):
        quantity = self.pick([0, 1, 1, 1, 1, 2, 3, 12])
        price = self.amount(currency)
        unit = None
        if self.chance(0.6):
            unit = self.amount(currency, 50, 22_000)
        if self.chance(0.002):  # the largest line that there may be
            digits = DIGITS[currency]
            quantity, unit, price = 1, None, LIMIT // 10 ** digits if self.chance(0.5) else LIMIT // 10 ** digits - 1
        self.add("purchase", time, session_id=session_id, user_id=user_id, order_id=order_id, product_id=product_id,
                 quantity=quantity, price_paid=0 if self.chance(0.03) else price, unit_price=unit,
                 currency=self.shown(currency), discount_code="SPRING" if unit and self.chance(0.3) else None)
        self.sold.append((order_id, product_id, time, currency))

    def return_line(self, session_id, order_id, product_id, time, currency):
        self.add("purchase", time, session_id=session_id, user_id=self.user(), order_id=order_id, product_id=product_id,
                 quantity=-self.pick([1, 1, 2, 5]), price_paid=-self.amount(currency), currency=self.shown(currency),
                 unit_price=self.amount(currency) if self.chance(0.3) else None)

    def spread_order(self):
        """One order of several lines over hours, days, categories and sessions; products may come twice."""
        order_id, time, currency = self.next_id("order"), self.some_time(), self.currency()
        session_id, user_id = self.next_id("session"), self.user()
        products = [self.product() for _ in range(self.random.randrange(2, 8))]
        if self.chance(0.4):
            products.append(products[0])
        for product_id in products:
            time += self.pick([0, 0, 20 * MINUTE, HOUR, 7 * HOUR, DAY, 3 * DAY])
            if self.chance(0.1):
                session_id, user_id = self.next_id("session"), self.user()
            if self.chance(0.1):
                currency = self.currency()
            self.sold_line(session_id, user_id, order_id, product_id, time, currency)
            if self.chance(0.1):  # returned within the order, sometimes before the sale
                self.return_line(session_id, order_id, product_id, time + self.pick([-HOUR, 0, DAY]), currency)

    def wide_order(self):
        """An order, and session, of more than 50 products, whose times tie at the cap."""
        order_id, session_id, time = self.next_id("order"), self.next_id("session"), self.some_time()
        for index, product_id in enumerate(self.random.sample(self.product_ids, 56)):
            self.sold_line(session_id, None, order_id, product_id, time + index // 14 * MINUTE, "USD")

    def sale_at_a_version(self):
        """A sale at, just before or just after the instant of a product's version."""
        product_id, time = self.pick(self.version_times)
        time = min(max(time, self.start), self.end) + self.pick([0, 0, -1, 1])
        self.sold_line(self.next_id("session"), self.user(), self.next_id("order"), product_id, time, self.currency())

    def give_back(self):
        """A return of something: known order and product, known order and other product, unknown order."""
        order_id, product_id, time, currency = self.pick(self.sold) if self.sold else ("O-x", "p0", self.start, "USD")
        kind = self.random.random()
        if kind < 0.25:
            product_id = self.product()
        elif kind < 0.4:
            order_id, product_id, time = f"X-{self.random.randrange(50)}", self.product(), self.some_time()
        time += self.pick([-DAY, -HOUR, 0, 10 * MINUTE, 5 * HOUR, DAY, 9 * DAY])
        if self.currencies and self.chance(0.15):
            currency = self.currency()
        if self.chance(0.4):
            self.return_line(self.next_id("session"), order_id, product_id, time, currency)
        elif self.chance(0.2):  # of the whole order
            self.add("refund", time, order_id=order_id, amount=self.amount(currency), quantity=self.pick([None, 0, 2]),
                     currency=self.shown(currency), reason="goodwill" if self.chance(0.5) else None)
        else:
            self.add("refund", time, order_id=order_id, product_id=product_id, quantity=self.pick([1, 1, 2, 0]),
                     amount=self.amount(currency), user_id=self.user() if self.chance(0.5) else None,
                     currency=self.shown(currency), reason="broken" if self.chance(0.3) else None)

    # --- sessions ------------------------------------------------------------------------------------------------

    def page(self, session_id, user_id, time, page_type, product_id=None):
        self.add("page_view", time, session_id=session_id, user_id=user_id, page_type=page_type, product_id=product_id,
                 referrer=self.pick(REFERRERS) if self.chance(0.4) else None,
                 device=self.pick(DEVICES) if self.chance(0.5) else None)

    def step(self, session_id, user_id, time, step, product_id, order_id="O-step"):
        if step == "view":
            page_type = self.pick(PAGES + ["teapot"])
            self.page(session_id, user_id, time, page_type, product_id if self.chance(0.2) else None)
        elif step == "product_view":
            product_id = None if self.chance(0.04) else product_id
            self.page(session_id, user_id, time, self.pick(["product_detail", "product"]), product_id)
        elif step == "cart":
            self.add("add_to_cart", time, session_id=session_id, user_id=user_id, product_id=product_id,
                     quantity=self.pick([0, 1, 1, 2]), unit_price=self.amount("USD") if self.chance(0.3) else None)
        elif step == "uncart":
            self.add("remove_from_cart", time, session_id=session_id, user_id=user_id, product_id=product_id, quantity=1)
        elif step == "checkout":
            if self.chance(0.5):
                self.page(session_id, user_id, time, "checkout")
            else:
                self.add("checkout_started", time, session_id=session_id, user_id=user_id)
        else:
            self.sold_line(session_id, user_id, order_id, product_id, time, self.currency())

    def straight_session(self):
        """The steps in their order, cut short anywhere, many of them in one second."""
        session_id, user_id, time, product_id = self.next_id("session"), self.user(), self.some_time(), self.product()
        steps = ["view", "product_view", "product_view", "cart", "checkout", "purchase"]
        order_id = self.next_id("order")
        for step in steps[: self.pick([1, 2, 3, 3, 4, 4, 5, 6, 6, 6])]:
            if self.chance(0.08):
                continue  # no checkout, or a purchase without cart
            self.step(session_id, user_id, time, step, product_id, order_id)
            time += self.gap()
            if self.chance(0.3):
                product_id = self.product()

    def wild_session(self):
        """Steps in any order: checkout before cart, purchase without cart, two users, all in one second or over days."""
        session_id, user_id, time = self.next_id("session"), self.user(), self.some_time()
        order_id = self.next_id("order")
        stretch = self.pick([0, 1, 1, 1, 1, 60, 2000])
        for _ in range(self.random.randrange(1, 14)):
            step = self.pick(["view", "view", "product_view", "product_view", "product_view", "cart", "cart", "uncart",
                              "checkout", "purchase"])
            if step == "purchase" and self.chance(0.5):
                order_id = self.next_id("order")
            self.step(session_id, user_id, time, step, self.product(), order_id)
            time += self.gap() * stretch
            if self.chance(0.05):
                user_id = self.user()

    def window_session(self):
        """Chains whose steps fall just inside, exactly at, and just outside of 24 h from their first."""
        session_id, user_id, time, product_id = self.next_id("session"), self.user(), self.some_time(), self.product()
        order_id = self.next_id("order")
        late = self.pick(["product_view", "cart", "checkout", "purchase"])
        edge = time + DAY + self.pick([-SECOND, -1, 0, 0, 0, 1, SECOND, HOUR])
        self.step(session_id, user_id, time, "view", product_id)
        if self.chance(0.4):  # a second first step, from which the chain may fit after all
            self.step(session_id, user_id, time + self.pick([0, 1, SECOND, 2 * HOUR]), self.pick(["view", "product_view"]),
                      product_id)
        after = False
        for index, step in enumerate(["product_view", "cart", "checkout", "purchase"]):
            after = after or step == late
            if step == "checkout" and self.chance(0.4):
                continue
            at = edge + (self.pick([0, 0, SECOND]) if step != late else 0) if after else time + index * 10 * MINUTE
            self.step(session_id, user_id, at, step, product_id, order_id)
        if self.chance(0.3):  # and a whole new chain on another day of the same session
            for step in ["product_view", "cart", "purchase"][: self.pick([1, 2, 3])]:
                self.step(session_id, user_id, edge + 2 * DAY, step, product_id, order_id)

    def tied_start_session(self):
        """Several first products, referrers and devices in one instant."""
        session_id, user_id, time = self.next_id("session"), self.user(), self.some_time()
        for _ in range(self.random.randrange(2, 5)):
            self.page(session_id, user_id, time, "product_detail", self.product())
        if self.chance(0.5):
            self.page(session_id, user_id, time - SECOND, "home")

    def crowded_session(self):
        """More than 50 touched products, with ties of the last touch at the cap, and products touched again. Two products are
        in all of these sessions, so that far more than 200 others stand beside them."""
        session_id, user_id, time = self.next_id("session"), self.user(), self.some_time()
        count = min(self.random.randrange(45, 85), len(self.product_ids))
        products = self.random.sample(self.product_ids, count)
        per_second = self.pick([1, 3, 10, 30])
        for index, product_id in enumerate(products):
            self.step(session_id, user_id, time + index // per_second * SECOND,
                      self.pick(["product_view"] * 6 + ["cart"]), product_id)
        for product_id in self.random.sample(products, 8) + self.product_ids[:2]:
            self.page(session_id, user_id, time + count // per_second * SECOND, "product", product_id)

    # --- faults --------------------------------------------------------------------------------------------------

    def spoil(self, record):
        """A line that must be quarantined, made from a good record."""
        record = dict(record)
        if self.chance(0.6):  # else it names a good record's id, and must not claim it
            record["event_id"] = f"bad-{self.random.randrange(10 ** 9)}"
        kind = self.random.randrange(18)
        if kind == 0:
            return json.dumps(record)[: self.random.randrange(5, 40)]
        if kind == 1:
            return self.pick(["42", "[]", '"text"', "not json at all", '{"event_id": }', "null"])
        if kind == 2:
            del record["event_id"]
        elif kind == 3:
            record["event_time"] = self.pick(["yesterday", "2024-02-30T10:00:00Z", "2024-03-10T25:00:00Z", "", None, True])
        elif kind == 4:
            record["event_type"] = self.pick(["wish_list", None, ""])
        elif kind == 5:
            record["event_id"] = self.pick(["", None])
        else:
            record = {"event_id": record["event_id"], "event_type": "purchase", "event_time": record["event_time"],
                      "session_id": self.next_id("session"), "order_id": self.next_id("order"),
                      "product_id": self.product(), "quantity": 1, "price_paid": 9.99}
            if kind == 6:
                record["price_paid"] = -9.99
            elif kind == 7:
                record["unit_price"] = -1
            elif kind == 8:
                del record[self.pick(["session_id", "order_id", "product_id", "quantity", "price_paid"])]
            elif kind == 9:
                record[self.pick(["quantity", "price_paid"])] = self.pick(["free", {"a": 1}, [], True])
            elif kind == 12:
                record.update(quantity=-2)  # and a price above 0
            elif kind == 13:
                record.update(event_type=self.pick(["add_to_cart", "remove_from_cart"]), quantity=-1)
            elif kind == 14:
                record.update({"event_type": "refund", "amount": 5} | self.pick([{"amount": -5}, {"quantity": -1}]))
            elif kind == 15:
                record["currency"] = self.pick(["ABC", "XAU", "dollars", 840, "US"])
            elif kind == 16:
                beyond = {"price_paid": LIMIT // 100 + 1}, {"unit_price": LIMIT // 100 + 1}, {"price_paid": 1e300}, \
                    {"quantity": 3, "unit_price": LIMIT // 200}, {"quantity": 3_000_000_000}
                record.update(self.pick(beyond))
            elif kind == 17:
                record[self.pick(["quantity", "order_id"])] = 1.5
            elif kind == 10:
                record[self.pick(["session_id", "order_id", "product_id"])] = self.pick(["", None, {"a": 1}, [1]])
            else:
                for name in ["order_id", "price_paid"]:
                    del record[name]
                record.update(event_type="add_to_cart", unit_price=-0.5)
        return json.dumps(record)

    def other_claim(self, record):
        """A different record with the same event_id."""
        record = dict(record)
        kind = self.random.randrange(3)
        if kind == 0 and "session_id" in record:
            record["session_id"] = self.next_id("session")
        elif kind == 1 and "quantity" in record and record["quantity"] > 0:
            record["quantity"] += 1
        else:
            record = {"event_id": record["event_id"], "event_type": "page_view", "event_time": record["event_time"],
                      "session_id": self.next_id("session"), "page_type": "search"}
        return record

    # --- everything ----------------------------------------------------------------------------------------------

    def make_events(self):
        kinds = [(self.straight_session, 40), (self.wild_session, 25), (self.window_session, 14), (self.spread_order, 8),
                 (self.give_back, 14), (self.tied_start_session, 6), (self.sale_at_a_version, 5),
                 (self.crowded_session, 2), (self.wide_order, 0.1)]
        self.wide_order()
        self.crowded_session()
        while len(self.events) < self.wanted:
            self.random.choices([k for k, _ in kinds], [w for _, w in kinds])[0]()
        lines = [(time, tie, self.line(record)) for time, tie, record in self.events]
        for time, _, record in list(self.events):
            kind = self.random.random()
            later = time + self.pick([0, 0, MINUTE, DAY, 30 * DAY])
            if kind < 0.03:
                for _ in range(self.pick([1, 1, 2])):
                    lines.append((later, self.random.random(), self.line(self.copy_of(record))))
            elif kind < 0.038:
                other = self.other_claim(record)
                for _ in range(self.pick([1, 1, 2])):
                    lines.append((later + self.pick([-1, 1]), self.random.random(), self.line(other)))
            elif kind < 0.05:
                spoiled = self.spoil(record)
                for _ in range(self.pick([1, 1, 1, 2])):
                    lines.append((later - self.pick([0, 2]), self.random.random(), spoiled))
        for product_id in self.product_ids[::9]:  # reclassified while events run
            time = self.some_time()
            record = {"event_type": "product", "product_id": product_id, "category": self.pick(CATEGORIES),
                      "updated_at": self.text_of_time(time // SECOND * SECOND + 123_456)}
            lines.append((time, self.random.random(), self.line(record)))
        lines.sort()
        return [line for _, _, line in lines]

    def line(self, record):
        separators = (",", ":") if self.chance(0.8) else (", ", ": ")
        return json.dumps(record, ensure_ascii=self.chance(0.3), separators=separators)


def make(directory, seed, events, currencies, around=None):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    maker = Maker(seed, events, currencies, around)
    files = {"products.jsonl": [maker.line(r) for r in maker.make_products()] + ["{broken"],
             "users.jsonl": [maker.line(r) for r in maker.make_users()],
             "events.jsonl": maker.make_events()}
    for name, lines in files.items():
        (directory / name).write_bytes("".join(line + "\n" for line in lines).encode())
    return {name: len(lines) for name, lines in files.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("outdir")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--currencies", action="store_true", help="several currencies instead of one")
    parser.add_argument("--around", help="the instant at which a clock changes; the events are of the weeks around it")
    options = parser.parse_args()
    print(make(options.outdir, options.seed, options.events, options.currencies, options.around))
