"""Invented people and everything that would identify them, in many written forms. No real person is meant.

The name lists differ from the dictionaries of `deidentification/`, so that recall measures more than a lookup.
Mail and web addresses use the reserved example domains.
"""

import random
from dataclasses import dataclass

from components.curation.raw_sources.planting import Planted

GIVEN = {
    "female": ("Anneliese", "Briony", "Carmen", "Dorothea", "Edith", "Farida", "Greta", "Hannah", "Imogen", "Jasmine", "Karin", "Lucille", "Margot", "Nadia", "Odette", "Priya", "Rosalind", "Sigrid", "Tamsin", "Verena"),
    "male": ("Alasdair", "Bertrand", "Callum", "Dmitri", "Edgar", "Farouk", "Gideon", "Henrik", "Ivor", "Julian", "Konrad", "Leopold", "Matthew", "Nigel", "Osman", "Philip", "Rupert", "Stefan", "Tobias", "Wilfred"),
}  # fmt: skip
SURNAMES = (
    "Abernathy", "Blackwood", "Castellano", "Drummond", "Eastwood", "Fairweather", "Galloway", "Hargreaves", "Ilves", "Jankowski",
    "Kessler", "Lindqvist", "Moreau", "Novak", "Okafor", "Pemberton", "Quigley", "Rasmussen", "Stanhope", "Thackeray",
    "Underhill", "Vasquez", "Whitcombe", "Yamada", "Zielinski", "Moore", "Clarke", "Bennett", "Foster", "Hughes",
)  # fmt: skip
STREETS = (
    "Alder Grove",
    "Beacon Street",
    "Chapel Lane",
    "Dovecote Road",
    "Elm Avenue",
    "Foundry Way",
    "Harbour Drive",
    "Mill Court",
)
TOWNS = ("Northbridge", "Eastmoor", "Wexcombe", "Highfield", "Stonebeck", "Larkhaven")
HOSPITALS = (
    "Northbridge General Hospital",
    "St. Alban Clinic",
    "Eastmoor Medical Center",
    "Riverside Family Clinic",
    "Stonebeck Regional Hospital",
    "Larkhaven Infirmary",
)
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
ZH_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
ZH_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华"
ZH_CITIES = ("清河市", "远山市", "临江市", "东湖市")
ZH_HOSPITALS = ("第一人民医院", "中心医院", "中医院", "妇幼保健院")


@dataclass(frozen=True)
class Identity:
    """One invented patient of one language."""

    generator: random.Random
    sex: str

    def name(self) -> Planted:
        given, surname = self.generator.choice(GIVEN[self.sex]), self.generator.choice(SURNAMES)
        middle = f" {self.generator.choice('ABCDEFGHJKLMNPRSTW')}." if self.generator.random() < 0.25 else ""
        return Planted("NAME", f"{given}{middle} {surname}")

    def surname(self) -> Planted:
        return Planted("NAME", self.generator.choice(SURNAMES))

    def date(self, *, first_year: int = 2012, last_year: int = 2024) -> Planted:
        year, month, day = (
            self.generator.randint(first_year, last_year),
            self.generator.randint(1, 12),
            self.generator.randint(1, 28),
        )
        word = MONTHS[month - 1]
        forms = (
            f"{year}-{month:02d}-{day:02d}", f"{month}/{day}/{year}", f"{month:02d}/{day:02d}/{year % 100:02d}", f"{day:02d}.{month:02d}.{year}",
            f"{word} {day}, {year}", f"{day} {word[:3]} {year}", f"{word} {day}", f"{word} {year}", f"{day} {word} {year}",
        )  # fmt: skip
        return Planted("DATE", self.generator.choice(forms))

    def phone(self) -> Planted:
        a, b, c = self.generator.randint(201, 989), self.generator.randint(201, 989), self.generator.randint(1000, 9999)
        forms = (
            f"({a}) {b}-{c}",
            f"{a}-{b}-{c}",
            f"{a}.{b}.{c}",
            f"+1 {a} {b} {c}",
            f"+44 20 7{b} {c}",
            f"{a} {b} {c}",
            f"{a}-{b}-{c} ext. {a}",
        )
        return Planted("PHONE", self.generator.choice(forms))

    def email(self) -> Planted:
        given, surname = self.generator.choice(GIVEN[self.sex]), self.generator.choice(SURNAMES)
        return Planted(
            "EMAIL",
            f"{given}.{surname}{self.generator.randint(1, 99)}@{self.generator.choice(('example.org', 'mail.example.com'))}".lower(),
        )

    def address(self) -> Planted:
        street, town = self.generator.choice(STREETS), self.generator.choice(TOWNS)
        return Planted(
            "ADDRESS", f"{self.generator.randint(1, 240)} {street}, {town} {self.generator.randint(10000, 99999)}"
        )

    def record_number(self) -> Planted:
        number = self.generator.randint(1000000, 9999999)
        forms = (
            f"{number}",
            f"MR{number}",
            f"{number // 10000}-{number % 100:02d}-{number % 1000:03d}",
            f"{self.generator.choice('ABCDEH')}{number}",
        )
        return Planted("ID", self.generator.choice(forms))

    def social_number(self) -> Planted:
        return Planted(
            "ID",
            f"{self.generator.randint(100, 899)}-{self.generator.randint(10, 99)}-{self.generator.randint(1000, 9999)}",
        )

    def account(self) -> Planted:
        number = self.generator.randint(10**9, 10**10 - 1)
        return Planted(
            "ACCOUNT",
            self.generator.choice(
                (
                    f"{number}-{self.generator.randint(1, 9):02d}",
                    f"XGK{number % 10**9:09d}",
                    f"GRP{number % 10**6:06d}-{number % 1000:03d}",
                )
            ),
        )

    def url(self) -> Planted:
        return Planted("URL", f"https://portal.example.org/results/{self.generator.randint(10000, 99999)}")

    def hospital(self) -> Planted:
        return Planted("ORGANIZATION", self.generator.choice(HOSPITALS))

    def old_age(self) -> Planted:
        age = self.generator.randint(90, 103)
        return Planted("AGE_OVER_89", self.generator.choice((f"{age}-year-old", f"{age} year old", f"{age} y/o")))


@dataclass(frozen=True)
class ChineseIdentity:
    """One invented Chinese patient."""

    generator: random.Random

    def name(self) -> Planted:
        given = "".join(self.generator.sample(ZH_GIVEN, self.generator.choice((1, 2))))
        return Planted("NAME", self.generator.choice(ZH_SURNAMES) + given)

    def date(self) -> Planted:
        year, month, day = (
            self.generator.randint(2012, 2024),
            self.generator.randint(1, 12),
            self.generator.randint(1, 28),
        )
        return Planted(
            "DATE",
            self.generator.choice((f"{year}年{month}月{day}日", f"{year}-{month:02d}-{day:02d}", f"{month}月{day}日")),
        )

    def phone(self) -> Planted:
        return Planted("PHONE", f"1{self.generator.choice('3578')}{self.generator.randint(10**8, 10**9 - 1)}")

    def resident_number(self) -> Planted:
        """An 18-digit resident number with a valid check digit (GB 11643-1999)."""
        year, month, day = (
            self.generator.randint(1930, 2010),
            self.generator.randint(1, 12),
            self.generator.randint(1, 28),
        )
        digits = f"11010{self.generator.randint(1, 9)}{year}{month:02d}{day:02d}{self.generator.randint(0, 999):03d}"
        weight = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits))
        return Planted("ID", digits + "10X98765432"[weight % 11])

    def record_number(self) -> Planted:
        return Planted("ID", f"{self.generator.choice(('', 'ZY', 'MZ'))}{self.generator.randint(10**6, 10**8)}")

    def address(self) -> Planted:
        return Planted(
            "ADDRESS",
            f"江苏省{self.generator.choice(ZH_CITIES)}新华区人民路{self.generator.randint(1, 300)}号{self.generator.randint(1, 20)}栋{self.generator.randint(101, 909)}室",
        )

    def hospital(self) -> Planted:
        return Planted("ORGANIZATION", self.generator.choice(ZH_CITIES) + self.generator.choice(ZH_HOSPITALS))

    def account(self) -> Planted:
        return Planted("ACCOUNT", f"wx{self.generator.randint(10**6, 10**7)}")

    def old_age(self) -> Planted:
        return Planted("AGE_OVER_89", f"{self.generator.randint(90, 102)}岁")
