"""The pictures of the emulator's page in the documents, from a real run in Chromium.

    python -m tests.documents.screenshots

serves 60 models on three instances, calls them for a while, and writes docs/pictures/ anew.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_clients import browser
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURES = REPOSITORY / "docs" / "pictures"
CITIES = {
    "africa": "accra cairo dakar durban harare kampala lagos lusaka nairobi rabat tunis windhoek",
    "america": "austin bogota boston caracas denver havana lima montreal quito santiago seattle toronto",
    "asia": "amman bangkok busan delhi dhaka hanoi kyoto manila mumbai osaka seoul taipei",
    "europe": "athens bergen dublin faro geneva krakow lisbon lyon oslo porto riga vienna",
    "oceania": "apia auckland brisbane cairns darwin hobart nadi nelson perth suva sydney wellington",
}
HANDLER = """
import json
import random
import time
from pathlib import Path

def model_fn(directory):
    time.sleep(random.uniform(0.05, 0.4))
    print("loaded", Path(directory, "city").read_text(), flush=True)
    return bytearray(random.randint(6, 16) * 1024 * 1024)

def transform_fn(model, data, content_type, accept):
    time.sleep(random.expovariate(80))
    rooms = json.loads(data)["rooms"]
    if rooms > 9:
        print("a house of", rooms, "rooms", flush=True)
        raise ValueError(f"{rooms} rooms are more than the model has seen")
    return json.dumps({"prices": [round(91_000 * rooms + random.uniform(0, 9_000))]}), "application/json"
"""
CALLS, CALLERS = 1_500, 6


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, browser.launched(names={}) as chromium:
        emulator = served(Path(directory))
        try:
            page = opened(chromium, emulator, "light", 1280, 900)
            call_for_a_while(emulator)
            take(page, emulator)
            phone = opened(chromium, emulator, "dark", 400, 860)
            with in_traffic(emulator):
                phone.wait_for_timeout(1500)
                picture(phone, "page-phone")
        finally:
            emulator.stop()


def served(work: Path) -> Emulator:
    """One with a model for each city."""
    (work / "handler.py").write_text(HANDLER)
    for continent, cities in CITIES.items():
        for city in cities.split():
            weights = random.Random(city).randbytes(random.Random(city).randint(10_000, 900_000))
            archive(work / "s3" / continent / f"{city}.tar.gz", {"city": city, "weights": weights})
    options = ("--instances", "3", "--memory", "190MB", "--models", str(work / "s3"))
    emulator = Emulator(*options, "--handler", str(work / "handler.py"), state=work / "state")
    return emulator.wait_in_service()


def opened(chromium: Browser, emulator: Emulator, scheme: Any, width: int, height: int) -> Page:
    page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": height})
    page.goto(f"{emulator.url}/_localmme/")
    page.get_by_text("live", exact=True).wait_for()
    return page


def call(emulator: Emulator, chance: random.Random) -> None:
    """A call of some model: few of them are popular, as always."""
    models = [f"{continent}/{city}.tar.gz" for continent, cities in CITIES.items() for city in cities.split()]
    random.Random(1).shuffle(models)
    model = models[min(len(models) - 1, int(chance.paretovariate(0.9)) - 1)]
    rooms = 12 if chance.random() < 0.01 else chance.randint(1, 6)
    with contextlib.suppress(ClientError):
        emulator.invoke(model, f'{{"rooms": {rooms}}}')


def call_for_a_while(emulator: Emulator) -> None:
    emulator.client()
    chances = [random.Random(number) for number in range(CALLS)]
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda chance: call(emulator, chance), chances))


@contextlib.contextmanager
def in_traffic(emulator: Emulator) -> Any:
    """While calls go on."""
    end = time.monotonic() + 60
    stopped = False

    def go_on(number: int) -> None:
        chance = random.Random(number + CALLS)
        while not stopped and time.monotonic() < end:
            call(emulator, chance)

    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(go_on, number) for number in range(CALLERS)]
        try:
            yield
        finally:
            stopped = True
    for each in running:
        each.result()


def take(page: Page, emulator: Emulator) -> None:
    """Each view in turn, while calls go on."""
    page.get_by_label("Strip").select_option(label="1 minute")
    with in_traffic(emulator):
        page.wait_for_timeout(1500)
        picture(page, "page-now")
    view(page, "Models")
    page.wait_for_timeout(6000)  # the what-if line is looked at every few seconds
    picture(page, "page-models")
    view(page, "Calls")
    page.get_by_label("Model was").select_option("cold")
    page.get_by_role("grid", name="Calls, the latest first").locator("tbody tr:not([hidden])").nth(3).click()
    page.wait_for_timeout(500)
    picture(page, "page-call")
    page.get_by_role("button", name="About the model").click()
    page.wait_for_timeout(500)
    picture(page, "page-model")


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def picture(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
