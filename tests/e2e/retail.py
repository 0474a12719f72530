"""The retail example: invoices, the campaigns for them, and what each customer gets.

`expected` is straightforward arithmetic over the file, in exact decimals; it shares no
code with the product. The file is Online Retail of the UCI repository, CC BY 4.0, one
row an invoice; where it is absent, rows of the same shape are made up.
"""

import csv
import random
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared" / "data" / "online-retail-invoices.csv"
COLUMNS = ("InvoiceNo", "InvoiceDate", "CustomerID", "TotalPrice")
MOST_POINTS_AN_INVOICE = 500
TIERS = (("platinum", 20_000), ("gold", 5_000), ("silver", 1_000), ("bronze", 0))
BADGE = "regular"

SEGMENT = {
    "name": "Gold and platinum",
    "type": "dynamic",
    "criteria": [{"field": "tier", "operator": "in", "value": ["gold", "platinum"]}],
}


def campaigns(segment_id):
    """Return the bodies that create the three campaigns."""
    points = {"field": "amount", "round": "floor", "max": MOST_POINTS_AN_INVOICE}
    common = {"type": "Reward", "mode": "always-on", "status": "active"}
    common["triggers"] = [{"eventType": "purchase"}]
    tenth = [{"field": "user.counts.purchase", "operator": "==", "value": 10}]
    return [
        {
            **common,
            "name": "A point per pound",
            "priority": 9,
            "effects": [{"type": "add_points", "config": {"amount": points}}],
        },
        {
            **common,
            "name": "Tenth invoice",
            "conditions": tenth,
            "effects": [{"type": "add_badge", "config": {"badgeId": BADGE}}],
        },
        {
            **common,
            "name": "The same again",
            "priority": 2,
            "segmentIds": [segment_id],
            "effects": [{"type": "add_points", "config": {"amount": points}}],
        },
    ]


def write_made_up(path, invoices=6_000, customers=1_200):
    """Write invoices of a few great customers and many small ones, in order of date."""
    chance = random.Random(20_101_201)
    ids = [str(12_346 + n) for n in range(customers)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(invoices):
            place = min(int(chance.expovariate(12) * customers), customers - 1)
            pence = int(chance.lognormvariate(10.2, 1.2)) + 1
            price = str(pence / 100)
            odd = {0: "22.200000000000003", 7: "168469.6", 11: "-38970.0", 13: "0.95"}
            day = f"{2010 + number // 3_000}-{number % 3_000 // 250 + 1:02}-01"
            price = odd.get(number % 500, price)
            writer.writerow([536_365 + number, day, ids[place], price])


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected(rows):
    """Return customer -> {points, tier, badges, entries, count} after all invoices."""
    customers = {}
    for row in rows:
        empty = {"points": 0, "tier": "bronze", "badges": [], "entries": 0, "count": 0}
        customer = customers.setdefault(row["CustomerID"], empty)
        customer["count"] += 1
        pounds = Decimal(row["TotalPrice"]).to_integral_value(ROUND_FLOOR)
        earned = min(int(pounds), MOST_POINTS_AN_INVOICE)
        credit(customer, earned)
        if customer["count"] == 10:
            customer["badges"].append(BADGE)
            customer["entries"] += 1
        if customer["tier"] in ("gold", "platinum"):
            credit(customer, earned)
    return customers


def credit(customer, earned):
    # Nothing is ever spent or taken back: the balance is the lifetime.
    if earned > 0:
        customer["points"] += earned
        customer["entries"] += 1
        reached = (name for name, least in TIERS if customer["points"] >= least)
        customer["tier"] = next(reached)
