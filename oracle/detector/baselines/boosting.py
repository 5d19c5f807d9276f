#!/usr/bin/env python3
"""Gradient boosting on exactly the rows that a deep model was trained and tested on.

Reads DIR/rows.csv.gz (columns `part,truth,group,FEATURES...`; part is `fold-N`, or `train` and `test`; `train` rows beside folds train
in every fold, `test` rows beside folds are judged by a fit on all others; an empty cell is a missing value)
and writes DIR/boosting.csv.gz (`row,p0..pK-1,decided`, one line per tested row, `row` counts the lines of rows.csv.gz from 0) and
DIR/boosting.json (library, seed, the settings tried and the one chosen, rounds and threshold per part).

What keeps the comparison fair:
  * the same rows, features and folds as the deep model, and nothing else;
  * a fixed random search (class weighting included), scored on a grouped inner validation of the first training part and then frozen: the
    tested rows of that part are never looked at, those of the other folds are in the training part of the first, as in any such protocol;
  * early stopping on a grouped inner split of each training part, then a fit on all of that part with the rounds so found;
  * two classes: the threshold that has the best macro-F1 on inner out-of-fold predictions; more classes: the likeliest class;
  * many classes, of which some have a handful of rows: a leaf needs a total curvature of 1, as in XGBoost. Without it LightGBM's
    outputs for the rare classes run away and the baseline is weaker than it is. The search and the rounds are shorter there;
  * few groups (patients): settings and rounds are chosen on all of them out of fold, on some rows of each.

Guarantees: a group is never on both sides of an inner split; the same seed, threads and library versions give the same files.
It must not choose anything by the truth of a tested row.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

try:
    import lightgbm
    import numpy as np
    import pandas as pd
    from sklearn.metrics import f1_score, roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold
except ImportError as missing:
    sys.exit(f"boosting.py: {missing}. Install what it needs: python -m pip install -r {Path(__file__).with_name('requirements.txt')}")

# Settings tried: the first is close to the library's own, the others are drawn from SPACE by the seed.
SETTINGS_TRIED = 10
SETTINGS_TRIED_QUICK = 3
# Rounds of boosting at most, and the rounds without progress after which a fit stops.
ROUNDS_MAX = 800
ROUNDS_MAX_QUICK = 60
PATIENCE_ROUNDS = 40
# From this many classes on a tree per class and round is dear: fewer settings and rounds (a fit that would go on is cut off there).
MANY_CLASSES = 6
SETTINGS_TRIED_MANY_CLASSES = 6
ROUNDS_MAX_MANY_CLASSES = 300
# Total second derivative that a leaf needs with many classes (LightGBM's own 0.001 lets outputs of rare classes diverge).
CURVATURE_MIN_MANY_CLASSES = 1.0
# The search looks at no more rows than this; whole groups are left out at random.
SEARCH_ROWS_MAX = 30_000
# With fewer groups than this (patients), whole groups cannot be left out of the search for speed: rows of every group are, all of
# FOLDS_FEW_GROUPS inner folds validate, as one of them holds too few groups to go by, and the rounds that the search found stay.
FEW_GROUPS = 40
FOLDS_FEW_GROUPS = 3
SETTINGS_TRIED_FEW_GROUPS = 6
SEARCH_ROWS_MAX_FEW_GROUPS = 15_000
BINS_MAX_FEW_GROUPS = 63
# Inner folds with two classes (their out-of-fold predictions also set the threshold); with more classes one of FOLDS_ONE is validation.
FOLDS_TWO_CLASSES = 3
FOLDS_ONE = 5
# Thresholds tried are quantiles of the inner predictions.
THRESHOLDS_TRIED = 400

FIRST = {"learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20, "feature_fraction": 0.8, "bagging_fraction": 0.8, "lambda_l2": 1.0, "weighting": 0.0}
SPACE = {
    "learning_rate": [0.03, 0.05, 0.1],
    "num_leaves": [15, 31, 63, 127],
    "min_child_samples": [5, 20, 50, 100],
    "feature_fraction": [0.3, 0.5, 0.8, 1.0],
    "bagging_fraction": [0.6, 0.8, 1.0],
    "lambda_l2": [0.0, 1.0, 10.0],
    # Weight of a row = (rows / (classes * rows of its class)) ** weighting: 0 is none, 1 is balanced.
    "weighting": [0.0, 0.25, 0.5, 1.0],
}


class BadInput(Exception):
    """The rows file is not what the evaluation writes; the message says what to do next."""


@dataclass
class Rows:
    """The rows file: features n x f (float32, NaN = missing), truth and group per row, part per row."""

    features: np.ndarray
    names: list
    truth: np.ndarray
    group: np.ndarray
    part: np.ndarray
    classes: int

    def few_groups(self, which):
        """Whether these rows are of so few groups that each matters."""
        return len(np.unique(self.group[which])) < FEW_GROUPS

    def splits(self):
        """(name, training rows, tested rows) per fold, and of the official test rows."""
        parts = set(self.part)
        folds = sorted((p for p in parts if p.startswith("fold-")), key=lambda p: int(p[5:]) if p[5:].isdigit() else -1)
        if parts - set(folds) - {"train", "test"} or len(folds) == 1 or not all(p[5:].isdigit() for p in folds):
            raise BadInput(f"Column `part` holds {sorted(parts)[:8]}; expected `fold-0`, `fold-1`, ... or `train` and `test`.")
        if not folds and parts != {"train", "test"}:
            raise BadInput(f"rows.csv.gz has only the part {sorted(parts)}; boosting needs `train` and `test`, or `fold-N`.")
        trains = self.part != "test"
        tested = folds + ["test"] * ("test" in parts)
        return [(p, np.flatnonzero(trains & (self.part != p)), np.flatnonzero(self.part == p)) for p in tested]


def read_rows(folder):
    """Reads and checks DIR/rows.csv.gz."""
    path = folder / "rows.csv.gz"
    if not path.is_file():
        raise BadInput(f"{path} is not there. Write it with `pulsegate detector evaluate --cross-validate --boosting PYTHON ...`.")
    try:
        # Names are read as they stand: pandas would rename duplicates, and a nameless column would shift what the model sees.
        table = pd.read_csv(path, dtype={"part": str}, low_memory=False)
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as fault:
        raise BadInput(f"{path} cannot be read as gzip CSV ({fault}). Run the evaluation again.") from fault
    wanted = ["part", "truth", "group"]
    if list(table.columns[:3]) != wanted or table.shape[1] < 4:
        raise BadInput(f"{path} starts with the columns {list(table.columns[:4])}; expected {wanted} and at least one feature.")
    if len(table) == 0:
        raise BadInput(f"{path} has a header and no rows. Run the evaluation on a file that has rows.")
    text = [c for c in table.columns[3:] if not pd.api.types.is_numeric_dtype(table[c]) and not pd.api.types.is_bool_dtype(table[c])]
    if text:
        raise BadInput(f"Features {text[:5]} of {path} are not numbers. Export categories as integer codes, missing values as empty cells.")
    if table["truth"].isna().any() or table["part"].isna().any() or table["group"].isna().any():
        raise BadInput(f"{path} has rows without part, truth or group; every row needs all three.")
    truth = table["truth"].to_numpy()
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0:
        raise BadInput(f"Column `truth` of {path} must hold class numbers from 0.")
    features = table.iloc[:, 3:].to_numpy(dtype=np.float32, copy=True)
    features[~np.isfinite(features)] = np.nan
    group = pd.factorize(table["group"])[0]
    return Rows(features, [str(c) for c in table.columns[3:]], truth.astype(np.int64), group, table["part"].to_numpy(dtype=object), int(truth.max()) + 1)


def say(text):
    """Progress goes to stderr; stdout stays empty."""
    print(f"boosting: {text}", file=sys.stderr, flush=True)


def draw_settings(seed, count):
    """`count` different settings: FIRST, then random ones from SPACE."""
    rng = np.random.default_rng(seed)
    drawn = [dict(FIRST)]
    while len(drawn) < count:
        one = {name: values[int(rng.integers(len(values)))] for name, values in SPACE.items()}
        if one not in drawn:
            drawn.append(one)
    return drawn


class Booster:
    """Fits and applies LightGBM for one training part; labels are the classes that the part holds."""

    def __init__(self, rows, training, arguments):
        self.rows = rows
        self.training = training
        self.arguments = arguments
        self.few = rows.few_groups(training)
        self.labels = np.unique(rows.truth[training])
        if len(self.labels) < 2:
            raise BadInput("A training part holds a single class; nothing can be learned from it. Check the column `part`.")
        self.target = np.searchsorted(self.labels, rows.truth)
        self.rounds_max = ROUNDS_MAX_QUICK if arguments.quick else ROUNDS_MAX_MANY_CLASSES if rows.classes >= MANY_CLASSES else ROUNDS_MAX

    def fit(self, settings, fitted, validated=None, rounds=None):
        """One fit on the rows `fitted`; with `validated` it stops early. Returns the booster."""
        counts = np.bincount(self.target[fitted], minlength=len(self.labels)).astype(float)
        per_class = (len(fitted) / (len(self.labels) * np.maximum(counts, 1.0))) ** settings["weighting"]
        parameters = {key: value for key, value in settings.items() if key != "weighting"}
        parameters.update(
            objective="binary" if len(self.labels) == 2 else "multiclass",
            metric="binary_logloss" if len(self.labels) == 2 else "multi_logloss",
            bagging_freq=1, seed=self.arguments.seed, num_threads=self.arguments.threads, deterministic=True, force_row_wise=True, verbosity=-1,
        )
        if len(self.labels) > 2:
            parameters["num_class"] = len(self.labels)
        if self.few:
            parameters["max_bin"] = BINS_MAX_FEW_GROUPS
        if self.rows.classes >= MANY_CLASSES:
            parameters["min_sum_hessian_in_leaf"] = CURVATURE_MIN_MANY_CLASSES

        def table(which, reference=None):
            return lightgbm.Dataset(
                self.rows.features[which], self.target[which], weight=per_class[self.target[which]], reference=reference, free_raw_data=True
            )

        data = table(fitted)
        if validated is None:
            return lightgbm.train(parameters, data, num_boost_round=rounds)
        stop = lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False)
        return lightgbm.train(parameters, data, self.rounds_max, valid_sets=[table(validated, data)], callbacks=[stop])

    def probabilities(self, booster, which):
        """len(which) x classes; a class that the training part does not hold gets 0."""
        raw = booster.predict(self.rows.features[which], num_threads=self.arguments.threads)
        if len(self.labels) == 2:
            raw = np.column_stack([1.0 - raw, raw])
        out = np.zeros((len(which), self.rows.classes))
        out[:, self.labels] = raw
        return out

    def inner_splits(self, which):
        """Grouped, stratified inner splits of the rows `which`: (fitted, validated) pairs."""
        groups = len(np.unique(self.rows.group[which]))
        every = self.few or self.rows.classes == 2
        folds = FOLDS_FEW_GROUPS if self.few else FOLDS_TWO_CLASSES if every else FOLDS_ONE
        if groups < 2:
            raise BadInput("A training part holds a single group; it cannot be split without peeking. Check the column `group`.")
        splitter = StratifiedGroupKFold(min(folds, groups), shuffle=True, random_state=self.arguments.seed)
        pairs = splitter.split(which, self.target[which], self.rows.group[which])
        pairs = [(which[a], which[b]) for a, b in pairs]
        return pairs if every else pairs[:1]

    def inner(self, settings, which):
        """Inner predictions: (rows validated, their probabilities, mean best rounds)."""
        validated, probabilities, rounds = [], [], []
        for fitted, held in self.inner_splits(which):
            booster = self.fit(settings, fitted, held)
            validated.append(held)
            probabilities.append(self.probabilities(booster, held))
            rounds.append(booster.best_iteration)
        return np.concatenate(validated), np.concatenate(probabilities), max(1, int(round(np.mean(rounds))))


def best_threshold(truth, positive):
    """The threshold on p1 with the best macro-F1 on the given (inner) rows; the middle one of equals."""
    tried = np.unique(np.quantile(positive, np.linspace(0.0, 1.0, THRESHOLDS_TRIED)))
    scores = np.array([f1_score(truth, positive >= t, average="macro", zero_division=0) for t in tried])
    best = np.flatnonzero(scores == scores.max())
    return float(tried[best[len(best) // 2]]), float(scores.max())


def score(rows, which, probabilities):
    """What the search maximises: the mean of macro-F1 and accuracy; with two classes of macro-F1 (best threshold) and ROC-AUC."""
    truth = rows.truth[which]
    if rows.classes == 2:
        return (best_threshold(truth, probabilities[:, 1])[1] + roc_auc_score(truth, probabilities[:, 1])) / 2.0
    decided = probabilities.argmax(axis=1)
    return float(f1_score(truth, decided, average="macro", zero_division=0) + np.mean(decided == truth)) / 2.0


def sample_groups(rows, which, seed):
    """At most SEARCH_ROWS_MAX of the rows `which`: whole groups at random, or with few groups some rows of each."""
    if rows.few_groups(which):
        kept = min(len(which), SEARCH_ROWS_MAX_FEW_GROUPS)
        return np.sort(np.random.default_rng(seed).choice(which, kept, replace=False))
    if len(which) <= SEARCH_ROWS_MAX:
        return which
    groups = np.random.default_rng(seed).permutation(np.unique(rows.group[which]))
    sizes = np.bincount(rows.group[which], minlength=rows.group.max() + 1)
    kept = groups[np.cumsum(sizes[groups]) <= SEARCH_ROWS_MAX]
    return which[np.isin(rows.group[which], kept)]


def search(rows, training, arguments):
    """Tries the settings on the first training part. Returns (chosen, their rounds, log of all)."""
    which = sample_groups(rows, training, arguments.seed)
    booster = Booster(rows, which, arguments)
    log = []
    wanted = SETTINGS_TRIED_FEW_GROUPS if booster.few else SETTINGS_TRIED_MANY_CLASSES if rows.classes >= MANY_CLASSES else SETTINGS_TRIED
    tried = draw_settings(arguments.seed, SETTINGS_TRIED_QUICK if arguments.quick else wanted)
    for number, settings in enumerate(tried, 1):
        began = time.monotonic()
        validated, probabilities, rounds = booster.inner(settings, which)
        value = score(rows, validated, probabilities)
        log.append({"settings": settings, "score": round(value, 6), "rounds": rounds})
        say(f"setting {number}/{len(tried)}: score {value:.4f}, {rounds} rounds, {time.monotonic() - began:.0f} s on {len(which)} rows")
    best = max(log, key=lambda entry: entry["score"])
    return best["settings"], best["rounds"], log


def judge_part(rows, name, training, tested, settings, rounds, arguments):
    """Fits one training part with the chosen settings. Returns (probabilities of the tested rows, decided, log)."""
    booster = Booster(rows, training, arguments)
    if not booster.few or rows.classes == 2:
        validated, inner, rounds = booster.inner(settings, training)
    # The whole part is larger than what the inner fits saw; the rounds are kept, which errs on the side of less fitting.
    final = booster.fit(settings, training, rounds=rounds)
    probabilities = booster.probabilities(final, tested)
    log = {"part": name, "training_rows": len(training), "tested_rows": len(tested), "rounds": rounds}
    if rows.classes == 2:
        threshold, inner_f1 = best_threshold(rows.truth[validated], inner[:, 1])
        decided = (probabilities[:, 1] >= threshold).astype(int)
        log.update(threshold=threshold, inner_macro_f1=round(inner_f1, 6))
    else:
        decided = probabilities.argmax(axis=1)
    truth = rows.truth[tested]
    say(f"{name}: {rounds} rounds, accuracy {np.mean(decided == truth):.4f}, macro-F1 {f1_score(truth, decided, average='macro', zero_division=0):.4f}")
    return probabilities, decided, log


def run(arguments):
    """The whole job for one folder."""
    began = time.monotonic()
    rows = read_rows(arguments.folder)
    if rows.classes < 2:
        raise BadInput("Column `truth` holds a single class. Run the evaluation on rows of at least two classes.")
    splits = rows.splits()
    say(f"{len(rows.truth)} rows, {len(rows.names)} features, {rows.classes} classes, {len(splits)} tested part(s), LightGBM {lightgbm.__version__}")
    settings, rounds, tried = search(rows, splits[0][1], arguments)
    tables, logs = [], []
    for name, training, tested in splits:
        probabilities, decided, log = judge_part(rows, name, training, tested, settings, rounds, arguments)
        table = pd.DataFrame(probabilities, columns=[f"p{k}" for k in range(rows.classes)])
        table.insert(0, "row", tested)
        table["decided"] = decided
        tables.append(table)
        logs.append(log)
    # A fixed time in the gzip header keeps equal runs equal byte by byte.
    pd.concat(tables).sort_values("row").to_csv(
        arguments.folder / "boosting.csv.gz", index=False, float_format="%.7g", compression={"method": "gzip", "mtime": 0}
    )
    report = {
        "library": f"lightgbm {lightgbm.__version__}", "seed": arguments.seed, "quick": arguments.quick, "features": len(rows.names),
        "classes": rows.classes, "chosen": settings, "tried": tried, "parts": logs,
    }
    (arguments.folder / "boosting.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say(f"wrote {arguments.folder / 'boosting.csv.gz'} in {time.monotonic() - began:.0f} s")


def main():
    parser = argparse.ArgumentParser(description="Gradient boosting on the rows that a deep model was trained and tested on.")
    parser.add_argument("folder", type=Path, help="folder with rows.csv.gz; the results go there too")
    parser.add_argument("--seed", type=int, default=7, help="seed of the search and of the fits (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of LightGBM (default 1)")
    parser.add_argument("--quick", action="store_true", help="three settings, few rounds: to try the path, not for a table")
    try:
        run(parser.parse_args())
    except BadInput as fault:
        sys.exit(f"boosting.py: {fault}")


if __name__ == "__main__":
    main()
