"""Whether an encoder still does what it did: what it makes of a small built-in set, beside what it is expected to make of it.

The set is made by whole-number arithmetic in this module, so that it is the same everywhere: a dozen pictures, a dozen texts.  Their
fixed-point vectors are each summed up in 16 signed sums (Johnson and Lindenstrauss 1984: angles survive), which is the *behaviour*.  What
comes in packages has its expectation in this module; an open_clip model's is written down at first use, beside the features, and must
hold from then on.  Compared are angles and not bits, since another processor rounds otherwise.

It tells another model, altered weights or a spoilt graph.  It does not tell a model that answers as before to everything but one
trigger: the SHA-256 of the weights does.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError
from dataaudit.features import encoders
from dataaudit.features.embedding import quantise
from dataaudit.features.encoders import Encoder, Sees
from dataaudit.features.encoders.weights import PREFIX, parse
from dataaudit.model import Plan, fingerprint
from dataaudit.store.records import atomic

LEAST = 0.999
"""The least cosine between what is found and what is expected, over all items."""
SUMS = 16
UNIT = 16
ON_CPU = "float32 on the CPU"
TEXTS = (
    "A small boat lies on the shore of a lake.",
    "two dogs run after a red ball in the snow",
    "Please confirm your account within 24 hours.",
    "The invoice of March is attached; payment is due in 30 days.",
    "def add(a, b): return a + b",
    "What is the capital of France?",
    "The capital of France is Paris.",
    "1, 2, 3, 5, 8, 13, 21, 34",
    "Ich habe den Schlüssel gestern auf dem Tisch liegen lassen.",
    "no, No, NO! this is not what I ordered...",
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor",
    "rain",
)


@dataclass(frozen=True)
class Attested:
    """An encoder that was loaded and found to be what it is expected to be.

    `name` says exactly what was loaded; `behaviour` is a short digest, which differs between processors that round otherwise.
    """

    name: str
    sees: Sees
    revision: str
    sha256: str
    runs_on: str
    behaviour: str


def pictures() -> list[NDArray[np.uint8]]:
    """A dozen pictures of several sizes: gradients, stripes, checks, a disc, rings, noise and a few more; whole numbers only."""
    made = []
    for i, side in enumerate((32, 48, 64, 96, 160, 224) * 2):
        y, x = np.mgrid[:side, :side].astype(np.int64) * 224 // side  # one drawing at any size
        radius = (x - 112) ** 2 + (y - 112) ** 2
        noise = np.frombuffer(hashlib.shake_256(b"%d" % i).digest(side * side), np.uint8).reshape(side, side).astype(np.int64)
        drawn = (
            (x, y, 255 - x),
            (255 * (x // 16 % 2), 64 + 0 * x, 255 * (y // 56 % 2)),
            (255 * ((x // 28 + y // 28) % 2), 255 * ((x // 28 + y // 28) % 2), 128 + 0 * x),
            (220 * (radius < 5000), 40 + 0 * x, 200 * (radius > 5000)),
            (radius // 60 % 256, radius // 40 % 256, radius // 90 % 256),
            (noise, noise, noise),
            (x ^ y, x & y, x | y),
            (30 + y // 2, 140 + y // 4, 250 - y // 2 * (y > 100)),
            (255 * (abs(x - y) < 20), 255 * (abs(x + y - 224) < 20), 20 + 0 * x),
            (noise // 4 + x // 2, noise // 4 + 90, noise // 4 + y // 2),
            (x * y // 200 % 256, (x + 2 * y) % 256, (3 * x + y) % 256),
            (255 * (x > 112) * (y > 112), 255 * (x < 80), 255 * (y < 80)),
        )[i]
        made.append(np.ascontiguousarray(np.stack(drawn, axis=-1).astype(np.uint8)))
    return made


def behaviour(encoder: Encoder, sees: Sees) -> NDArray[np.int64]:
    """Shape (12, 16): signed sums of the fixed-point vectors of the built-in set, in units of 16."""
    fixed = quantise(encoder.encode(pictures() if sees == "images" else list(TEXTS))).astype(np.int64)
    drawn = hashlib.shake_256(b"dataaudit behaviour 1").digest(fixed.shape[1] * SUMS // 8)
    signs = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(-1, SUMS).astype(np.int64) * 2 - 1
    return np.asarray(np.rint(fixed @ signs / UNIT), dtype=np.int64)


def pack(found: NDArray[np.int64]) -> str:
    """A behaviour as text."""
    return base64.b85encode(found.astype("<i2").tobytes()).decode()


def unpack(text: str) -> NDArray[np.int64]:
    """What `pack` wrote; raises ValueError where it is something else."""
    return np.frombuffer(base64.b85decode(text), "<i2").reshape(-1, SUMS).astype(np.int64)


def agreement(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """The least cosine between rows of the two; two rows of zeros agree, and nothing agrees with another shape."""
    if found.shape != expected.shape:
        return 0.0
    a, b = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = np.asarray(~a.any(1) & ~b.any(1), dtype=np.float64)
    cosines = np.divide((a * b).sum(1), norms, out=both_zero, where=norms > 0)
    return float(cosines.min())


def attest(name: str, sees: Sees, kept: Path | None = None, asked: str | None = None) -> Attested:
    """Load an encoder and hold it to what is expected of it; raises EncoderError where it does something else.

    `kept` is the directory in which expectations of encoders without a built-in one are written down and looked up, by `name` and by
    the name that was `asked` for: what `asked` means may have changed since.
    """
    encoder = encoders.load(name, sees)
    found = behaviour(encoder, sees)
    attested = Attested(name, sees, *identity(name), runs_on(encoder), hashlib.sha256(pack(found).encode()).hexdigest()[:16])
    if name in EXPECTED:
        compare(attested, found, unpack(EXPECTED[name]), "built in", "reinstall its package and delete its exported graph from the cache")
    elif kept is not None:
        for known in dict.fromkeys((asked or name, name)):
            _hold(attested, found, kept / f"{fingerprint(known, sees, 'bfloat16' in attested.runs_on)}.json")
    return attested


def compare(attested: Attested, found: NDArray[np.int64], expected: NDArray[np.int64], origin: str, todo: str) -> None:
    """Raise EncoderError where a behaviour is not the one expected."""
    least = agreement(found, expected)
    if not least >= LEAST:  # also where it is no number
        raise EncoderError(
            f"encoder {attested.name} for {attested.sees} does not behave as it did ({origin}): its least cosine with what is expected of "
            f"{len(expected)} built-in {attested.sees} is {least:.4f}, expected {LEAST} or more. Vectors of it cannot be trusted, "
            f"or compared with earlier ones; {todo}"
        )


def _hold(attested: Attested, found: NDArray[np.int64], path: Path) -> None:
    """Compare with what was written down under `path`, or write it down where nothing is."""
    try:
        known = json.loads(path.read_text())
        expected, sha256, loaded = unpack(known["behaviour_sums"]), str(known["sha256"]), str(known["name"])
    except FileNotFoundError:
        told = asdict(attested) | {"behaviour_sums": pack(found)}
        with atomic(path) as out:
            out.write(json.dumps(told, indent=1).encode())
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{path}: not a readable attestation ({error}); delete it to trust encoder {attested.name} as it is now"
        ) from error
    todo = f"put back what was there, use another --cache, or, if the change was meant, delete {path}"
    if sha256 != attested.sha256:
        raise EncoderError(
            f"encoder {attested.name} for {attested.sees}: its weights have SHA-256 {attested.sha256}, expected {sha256}, "
            f"as when it was first used with this cache (then {loaded}); {todo}"
        )
    compare(attested, found, expected, f"first used with this cache as {loaded}", todo)


def identity(name: str) -> tuple[str, str]:
    """(revision, SHA-256) of an encoder's weights; empty where there are none, or where the name does not pin them."""
    if name.startswith(PREFIX):
        spec = parse(name)
        return spec.revision, spec.sha256
    if name == "efficientnet-lite2":
        from dataaudit.features.encoders.image import WEIGHTS_SHA256

        return "", WEIGHTS_SHA256
    if name == "minilm":
        from dataaudit.features.encoders.text import MINILM_SHA256

        return "", MINILM_SHA256
    return "", ""


def runs_on(encoder: Encoder) -> str:
    """With which numbers and where it computes: vectors of one and of another agree to their rounding only."""
    return str(getattr(encoder, "runs_on", ON_CPU))


def attest_plan(plan: Plan, kept: Path, asked: str | None = None) -> tuple[Attested, ...]:
    """Attest whatever a plan's content and targets are encoded with; `asked` is the plan's encoder before it was pinned."""
    before = dict(zip(plan.encoder.split(encoders.BESIDE), (asked or plan.encoder).split(encoders.BESIDE), strict=True))
    return tuple(attest(name, sees, kept, before.get(name)) for name, sees in encoders.roles(plan))


@lru_cache(maxsize=8)
def attest_here(plan: Plan, kept: Path) -> tuple[Attested, ...]:
    """`attest_plan` once a process: workers may be other machines than the one that began the scan."""
    return attest_plan(plan, kept)


# What the encoders in packages made of the set above; `pack(behaviour(...))` says it anew where an encoder is replaced on purpose.
EXPECTED: Mapping[str, str] = {
    "efficientnet-lite2": (
        "X8;5KRsWIyF#!4i8vZf?CjgEBTmaesGXQ}8%>I1;-2d$UQvdk=c>vV_K>(HjuK$((r~SMDb^!|iV*suFc>nkSNdPAQq5f$Bz5byA4FSCWNdeFRrU01$2LF`)"
        "Z~$%qcLBZsBmO%89{;QV{s2J#Pymzw901J#4gT5yMF1871puV~0srU#asRRZF9A9LxdCkfjQ+j<3IN0aO#os4HUPl?M*jf+lKtlYA^?Z}m;q`3V*WJ%831Ac"
        "z5!hUiT|qq_5g+drT(!1b^&AnVE-Eb&H(2BA^=hUL;x86NdFZ7ME~Ld;{ARBBmYtWH~=&N7XS(YZ~tNc+5pl2?Eg>!HUD$}^!`==cmTlw834WhC<1%{oB)^p"
        "y#O@+SpnSu`~XS+=>AdyOaK%9HUL5bf&l&h{{CnH=K!GpPXAy5-~iwMwEi0b4FR73C;<Hb%m4BI6#tX}m;o{XHUA+1_y2$ZtN#B0VgUU9lmGqz;Q%85kN<K2"
    ),
    "minilm": (
        "%>O0;2>(t0@&S1OI{?N2*ZoibNdfZzL;-;Tt^bYxga1PTz5l!bodI+J1p#*e3jp5#f&exE4gl}~mH>zU+W%DlbpM|J_5NM}nE#0WcLACI(E;-R763v2;s2ul"
        "iT>IEJO5VyzW>bsU;*a;9sq3rUI20c7yjV^zWy};ga6(BHUMb<TmZZQl>qPm;r|@|k^gT1F944K8vv^RkOI>G;s0{|xdA=@fB-%JcmBQqg#q^fU;u>yq5oC@"
        "paN$90RS!jwg6%OiT}U<|NZ~~ZUO!P5CFaakN=$i*8YkBPyTTLZU6!S%Kwu8l>dDGWC2b9F95RtEC8GSZvQ&|mi`g{oBt5~(Ecj`&i^z3jQ>Odp#Nn6EdR9s"
        "=l!n$j{ivjbpAsCV*i}~)B&CU3;%5cz5EFOzx^x#zW?n0Q~##__WnBkqyc397XcRmj{sHyAOC6pe*f<Q#sH@NzyBlu|No)@jQ~giJ^<+dCjoc<dj8h{{QrCb"
    ),
    "hashed": (
        ";QwL(i2oG=HULZji2u0&NB{Z&UH=OJVgOwKZT{c?EC5pft^mmae*dlj>i<^&K>!5-!~mE8X#aTrEC6W#`2Xqu0Rf}{$Nm5QF8?n7W&qLveE$IfoBzrGT>mfu"
        "WC1$>iT_>yw*L<R`~cVfXaLXvZvqbh4*;V8PXGJ>RscEx<^Xd5IslUaJpt+gJpnxdtpFPTlL1iv0|DdzHv+i<KLC#b=KwDM&H?NH=K!?*Oaf^D8UL{U#r{YB"
        "n*!niTmW1EX8}_G6#+8<NC5TyX8~~lg#K{=kN@lb00000lmGkzZ2-yt+5p-Blm8I`lmA@*x&9&olm8X|4*+KX9RPj-^8dyELH|(y%>MHMIsTddsR17XX8>3L"
        "$p60p?Enh^A^_+9iUG0zg#TCnPXP7*-v6lpZvX56&j5M=ZvT=1o&eDP^8gwC^#4f!ZUE^24gOUCV*cp<0RI60009910RI600RI31009910RI310RI6000991"
    ),
}
