"""What explorers are made of: pictures with an alternative text, cells of a thumbnail and its buttons, a slider that plays."""

import io

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor
from traitlets import HasTraits, Int, Unicode, link

SIDE = 62  # pixels of a thumbnail and of the buttons below it
WRAPPED = {"flex_flow": "row wrap"}


class Picture(widgets.Image):
    """An image whose ``tooltip`` is its alternative text: the front end reads ``description`` before it shows one."""

    description = Unicode("").tag(sync=True)


class Choice(HasTraits):
    """The number of the image that is chosen: ``value``, which buttons set and observers follow."""

    value = Int()

    def buttons(self, count: int, name: str) -> list[widgets.ToggleButton]:
        """Return a button for each of ``count`` images; the one that is pressed is the choice, named ``name``."""
        made = [widgets.ToggleButton(layout={"width": f"{SIDE}px", "margin": "2px 0 0 0"}) for _ in range(count)]

        def show(_=None) -> None:
            for number, button in enumerate(made):
                button.value, button.description = number == self.value, name if number == self.value else str(number)
                button.tooltip = f"image {number} as {name}"

        def press(number: int, pressed: bool) -> None:
            if pressed:
                self.value = number
            show()  # a choice is left by making another one

        for number, button in enumerate(made):
            button.observe(lambda change, number=number: press(number, change["new"]), "value")
        self.observe(show, "value")
        show()
        return made


def choices(images: Tensor, **chosen: int) -> tuple[list[Choice], widgets.Box]:
    """Return a choice for each of ``chosen`` (its name and first image), and cells: a thumbnail with its own buttons."""
    found = [Choice(value=number) for number in chosen.values()]
    rows = [one.buttons(len(images), name) for one, name in zip(found, chosen, strict=True)]
    cells = []
    for number, (image, *buttons) in enumerate(zip(images, *rows, strict=True)):
        small = Picture(format="png", value=thumbnail(image), tooltip=f"image {number}")
        small.layout = {"width": f"{SIDE}px", "height": f"{SIDE}px"}
        cells.append(widgets.VBox([small, *buttons], layout={"margin": "0 4px 8px 0"}))
    return found, widgets.HBox(cells, layout=WRAPPED)


def thumbnail(image: Tensor) -> bytes:
    """Return an image (C, H, W) in [0, 1] as PNG, its pixels as large squares."""
    pixels = (255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    small = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    small.resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def picture() -> Picture:
    """Return the place of a large picture."""
    return Picture(format="png", layout={"max_width": "100%", "align_self": "flex-start"})


def played(slider: widgets.FloatSlider, stops: int, interval: int = 150) -> widgets.HBox:
    """Return a slider with a button that plays its stops."""
    low, span = slider.min, (slider.max - slider.min) / (stops - 1)
    play = widgets.Play(min=0, max=stops - 1, value=round((slider.value - low) / span), interval=interval)
    there, back = (lambda stop: low + stop * span), (lambda value: round((value - low) / span))
    link((play, "value"), (slider, "value"), transform=(there, back))
    return widgets.HBox([play, slider])
