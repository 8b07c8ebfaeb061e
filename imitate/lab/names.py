"""The name pools that every world draws from: fixed, so that all worlds share one tokenizer.

A world's seed decides who bears which name and what is true of them, never which names exist.
"""

from __future__ import annotations

__all__ = [
    "ADJECTIVES",
    "CITIES",
    "EMPLOYERS",
    "FIRST_NAMES",
    "FOREIGN_WORDS",
    "INSTRUMENTS",
    "JOBS",
    "LAST_NAMES",
    "NOUNS",
    "PRODUCTS",
    "RIVERS",
    "VERBS",
]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _joined(starts: str, ends: str) -> tuple[str, ...]:
    return tuple(start + end for start in _words(starts) for end in _words(ends))


FIRST_NAMES = _words("""
    Ada Alba Alma Anton Arno Astrid Bela Bruno Carla Cedric Clara Conrad Dagny Dario Delia Edgar
    Elias Elsa Emil Enzo Erika Ester Fabian Felix Flora Frida Gerda Gideon Greta Gustav Hanna
    Hector Hedda Helga Hugo Ida Igor Ilse Ingrid Irma Ivan Jana Jasper Jonas Judith Julian Karin
    Kasper Klara Konstantin Lars Laura Leon Lena Lina Linus Lotte Ludwig Magda Malin Marius Marta
    Mathilda Milan Mira Moritz Nadia Nils Nina Nora Olga Oscar Otto Paula Pavel Petra Philip Rasmus
    Regina Rita Roman Rosa Rufus Selma Silas Sonja Stella Sven Tamara Theo Thora Tilda Tobias
    Ulrich Ursula Valentin Vera Viktor Wanda
""")

LAST_NAMES = _joined(
    "Al Ber Cor Dal El Fen Gar Hol Kar Lin Mor Nor",
    "bach berg dorf gren heim hurst land mann quist stad ton wick",
)

CITIES = _joined("Vel Tor Mar Ash Oak Lun Bri Dun Har Sel", "brook bury field ford haven mouth")

EMPLOYERS = _joined(
    "Acro Bio Cyno Dura Exo Ferro Geo Hydro Inno Luma Nano Omni Poly Quanta Rota Sola",
    "corp dyne line tech works",
)

JOBS = _words("""
    architect baker barber bookbinder botanist brewer butcher carpenter chemist clerk cook dentist
    designer diver economist editor farmer florist geologist glazier gardener jeweller joiner judge
    lawyer librarian mason mechanic midwife nurse optician painter pilot plumber potter surgeon
    surveyor tailor teacher welder
""")

INSTRUMENTS = _words("""
    accordion bagpipes banjo bassoon cello clarinet cornet cymbals drums dulcimer fiddle flute
    guitar harmonica harp harpsichord horn lute lyre mandolin marimba oboe organ piano piccolo
    recorder saxophone sitar trombone trumpet tuba ukulele viola violin xylophone zither
""")

PRODUCTS = _words("""
    batteries bicycles blankets boilers bottles brushes buttons cables candles carpets ceramics
    clocks compasses engines fabrics furniture gloves helmets kettles knives ladders lamps lenses
    mattresses mirrors paints pianos pumps radios ropes sails scales shoes soap tents tiles tools
    toys turbines umbrellas
""")

RIVERS = _words("""
    Amber Birken Calder Derrow Ember Falk Glenn Hester Isk Jarn Kell Lorne Marl Nidder Orrin Pell
    Quill Ryde Sarn Tamsel Umber Varr Wend Yarrow Zell Brann Corve Dove Erne Frome
""")

ADJECTIVES = _words("""
    old young tall small quiet loud bright dark warm cold brave clever gentle heavy light quick slow
    round rich poor
""")

NOUNS = _words("""
    king horse bird tree stone river house child wolf star moon boat bridge garden sword ring crown
    tower forest island mountain window candle letter mirror shadow storm flower dragon lantern
""")

VERBS = _words("""
    sings sleeps falls runs waits burns grows shines returns listens wanders rises dances fades
    hides laughs breaks turns moves speaks
""")

FOREIGN_WORDS = _joined("za me ku lo ri ta ve no si pu", "dan fel gor lim nak pas rus tov")
