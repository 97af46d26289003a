"""What a relabelling does, in the sentences of its preview."""

from collections import Counter
from collections.abc import Sequence

from portal.labels.events import LabelChange
from portal.labels.losses import LabelLoss
from portal.labels.relabel import RelabelPreview
from portal.models import CurrentLabel
from portal.people.blinding import omitted

_MOST_NAMES = 8  # findings that a sentence names


def sentences_of(preview: RelabelPreview) -> list[str]:
    """Return what happens to the films, and which films it does not happen to."""
    lines = [
        _changed(preview),
        _confirmed(preview),
        *_of_others(preview),
        _stated(preview.change),
        _gone(preview.gone),
        omitted(preview.omitted),
        _in_test(preview.in_test),
        f"The labels name the criteria {preview.criteria}."
        if preview.criteria
        else "The site has not written down what normal means, so the labels name no criteria.",
    ]
    return [line for line in lines if line]


def films(count: int, one: str = "", many: str = "") -> str:
    """`films(1, "is", "are")`: "1 film is"."""
    return f"{count:,} film{'s' * (count != 1)} {one if count == 1 else many}".strip()


def _changed(preview: RelabelPreview) -> str:
    value = preview.change.value
    moves = Counter({before: n for (before, after), n in preview.moves.items() if after == value != before})
    if not moves:
        return "No film changes its label."
    words = films(moves.total(), "changes", "change")
    if len(moves) == 1:
        return f"{words} from {next(iter(moves))} to {value}."
    ordered = sorted(moves.items(), key=lambda move: (-move[1], move[0]))
    return f"{words} to {value}: {_joined([f'{n:,} from {before}' for before, n in ordered])}."


def _confirmed(preview: RelabelPreview) -> str:
    value = preview.change.value
    count, keeping = preview.moves.get((value, value), 0), preview.keeping
    if not count:
        return ""
    words = f"{films(count, 'is', 'are')} {value} already and {'stays' if count == 1 else 'stay'} so"
    what = "findings and boxes" if preview.change.findings is None else "boxes"
    if not keeping:
        return f"{words}."
    if keeping == count:
        return f"{words}, and {'keeps its' if count == 1 else 'keep their'} {what}."
    return f"{words}; {keeping:,} of them {'keeps its' if keeping == 1 else 'keep their'} {what}."


def _of_others(preview: RelabelPreview) -> list[str]:
    """The films on which the labels of others decide."""
    value, unresolved = preview.change.value, CurrentLabel.UNRESOLVED
    become = sum(n for (before, after), n in preview.moves.items() if after == unresolved != before)
    stay = preview.moves.get((unresolved, unresolved), 0)
    kept = sum(n for (_, after), n in preview.moves.items() if after not in (value, unresolved))
    lines = []
    if become:
        words = films(become, "becomes", "become")
        lines.append(f"{words} unresolved, because another reader's label differs; an adjudicator decides.")
    if stay:
        lines.append(f"{films(stay, 'stays', 'stay')} unresolved, because readers differ.")
    if kept:
        lines.append(f"{films(kept, 'keeps its', 'keep their')} adjudicated label; yours is stored beside it.")
    return lines


def _stated(change: LabelChange) -> str:
    lines = []
    for kind, names in (("finding", change.findings), ("attribute", change.attributes)):
        if names:
            lines.append(f"Each label has the {kind}{'s' * (len(names) > 1)} {_joined(list(names))}.")
        elif names is not None:
            lines.append(f"No label has {kind}s.")
    return " ".join(lines)


def _gone(gone: Sequence[LabelLoss]) -> str:
    if not gone:
        return ""
    parts = []
    for kind in ("finding", "attribute"):
        names = Counter(name for lost in gone for name in getattr(lost, f"{kind}s"))
        named = [f"{name} ({films(n)})" for name, n in names.most_common(_MOST_NAMES)]
        named += [f"{len(names) - _MOST_NAMES} others"] if len(names) > _MOST_NAMES else []
        parts += [f"the {kind}{'s' * (len(names) > 1)} {_joined(named)}"] if named else []
    boxes, boxed = sum(lost.boxes for lost in gone), sum(lost.boxes > 0 for lost in gone)
    if boxes:
        parts.append(f"{boxes:,} box{'es' * (boxes > 1)} ({films(boxed)})")
    return (
        f"On {films(len(gone))} parts of the earlier label no longer count: {'; '.join(parts)}. Undo brings them back."
    )


def _in_test(count: int) -> str:
    if not count:
        return ""
    return f"{films(count, 'is', 'are')} in the test part of a split. A split keeps the labels that it was frozen with."


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
