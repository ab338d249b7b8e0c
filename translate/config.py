"""Every setting with its default, range and meaning; imports no torch.

With presets.py this is the only home of defaults. A config is YAML, read with a safe loader;
unknown keys and wrong types are refused together, each with its path and the nearest valid name.
"""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from translate.io.ranges import FILE, fixed_range
from translate.presets import ONE_DOMAIN, PRESETS
from translate.runtime.precision import Precision, normalize_precision

MAX_DEPTH = 20  # nested YAML collections; a config needs 3
MAX_PROBLEMS = 50  # lines of one error message
MAX_WEIGHT = 1e6  # of a term of the objective
MAX_COUNT = 10**9  # steps

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class ConfigError(ValueError):
    """All that is wrong with a config, a line each: `key: problem; remedy`."""


def path_from(folder: Path, path: Path) -> str:
    """Return how a file in `folder` names `path`, whatever folder is the current one.

    Returns:
        A relative path; an absolute one where both share nothing but the file system's root, or
        not even that.
    """
    path = path.resolve()
    folder = folder.resolve()
    try:
        shared = os.path.commonpath([path, folder])
    except ValueError:  # drives of Windows
        return str(path)
    return str(path) if shared == path.anchor else os.path.relpath(path, folder)


def _tidy(path: Path) -> Path:
    """Return the path without the detours `x/..`, where no link makes them lead elsewhere."""
    tidied = Path(os.path.normpath(path))
    try:
        return tidied if tidied.resolve() == path.resolve() else path
    except (OSError, ValueError, RuntimeError):  # no path of this system, a loop of links
        return path


def _known_range(text: str) -> str:
    """Return a range without spaces; refuse what is none."""
    text = text.replace(" ", "")
    fixed_range(text)
    return text


class _Section(BaseModel):
    """A part of the config; the docstring below a field describes it."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class DataConfig(_Section):
    """Where the pictures are and how they become (channels, size, size) arrays."""

    root: str | None = None
    """folder with trainA, trainB and, for evaluation, testA, testB; relative to the config file,
    which also stands for a root that is not given"""

    domains: dict[str, str] | None = Field(default=None, min_length=1)
    """domain name -> training folder, relative to root; default A: trainA, B: trainB; a single one
    trains a plain image Soft-IntroVAE, with defaults of its own"""

    tests: dict[str, str] | None = None
    """domain name -> test folder, relative to root; default A: testA, B: testB"""

    size: int = Field(default=32, ge=8, le=2048)
    """training size in pixels, a multiple of the model's stride"""

    channels: Literal[1, 3] = 3
    """1 for grayscale, 3 for colour"""

    range: Annotated[str, AfterValidator(_known_range)] = FILE
    """what is black and white in files of more than 8 bits a channel: file (what its tags say, else
    0 and 65535, floats 0 and 1), auto (tells 10, 12 and 14 bits from each picture's largest value),
    LOW,HIGH (two numbers), or percentile (the 0.1 and 99.9 percentiles of each picture)"""

    load_size: int | None = Field(default=None, ge=8, le=4096)
    """shorter side before cropping; default: size"""

    crop: Literal["center", "random", "resized"] = "center"
    """how a square is cut: centre, anywhere, or resized"""

    flip: Share = 0.0
    """probability of a left-right flip"""

    held_out: float = Field(default=0.05, ge=0, le=0.5)
    """share of each domain held out from training to select the model (at most 128 images)"""

    memory_gb: float = Field(default=8.0, ge=0, le=1e6)
    """gigabytes of decoded images in memory; more wait in a temporary file (TMPDIR)"""

    background: Annotated[
        list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)
    ] = [255, 255, 255]
    """sRGB colour behind transparent pixels"""

    @property
    def names(self) -> tuple[str, ...]:
        """Domain names; a domain's index y is its place here."""
        return tuple(self.domains) if self.domains else ("A", "B")

    def folder(self, name: str, split: Literal["train", "test"] = "train") -> Path:
        """Return the folder of a domain's split."""
        given = (self.domains if split == "train" else self.tests) or {}
        return Path(self.root or ".") / given.get(name, f"{split}{name}")

    def read_from(self, folder: Path) -> DataConfig:
        """Return what a file in `folder` says, its root relative to the current folder."""
        root = str(_tidy(folder / (self.root or "")))
        return self.model_copy(update={"root": None if root == "." else root})

    def written_to(self, folder: Path) -> DataConfig:
        """Return what a file in `folder` has to say: `read_from` undone; see `path_from`."""
        root = path_from(folder, Path(self.root or "."))
        return self.model_copy(update={"root": None if root == "." else root})


class ModelConfig(_Section):
    """Network sizes; what is not given comes from the preset."""

    preset: Literal["tiny", "small", "base", "large"] = "tiny"
    """sizes of the network: tiny for 32 px and CPUs, small for 64, base for 128, large for 256 px,
    for GPUs; init writes smaller ones for CPUs"""

    fold: Literal[1, 2, 4, 8]
    """pixel-unshuffle factor of the first layer"""

    levels: int = Field(ge=0, le=5)
    """halvings after the fold, going down and up again"""

    width: int = Field(ge=8, le=1024, multiple_of=8)
    """channels of the first level; doubles at each level"""

    blocks: int = Field(ge=1, le=16)
    """residual blocks a level"""

    bottleneck: int = Field(ge=0, le=32)
    """decoder blocks on the lowest level"""

    content: Literal["map", "vector"] = "map"
    """what content is: a map of features, or one vector, which leaves no place for more than a few
    facts, such as a view, and ties the model to its training size"""

    content_channels: int = Field(ge=0, le=256)
    """channels Cc of the content, of a vector its length; 0, for one domain: no content, style is
    the one latent"""

    style_dim: int = Field(ge=1, le=1024)
    """numbers Ds of a style"""

    warp: Share = 0.3
    """how far the decoder may move features, as a share of half the training size; 0: not at all"""

    align: bool = True
    """start translations at the target domain's mean place, size and slant (needs warp > 0)"""

    pixel_channels: int = Field(default=0, ge=0, le=256)
    """channels of features at full size that the decoder's pixels are made from; 0: they are
    unfolded from features of every `fold`-th pixel"""

    detail: bool = False
    """translations keep the detail of their input: M x + b, where M and b take its
    reconstruction D(c, s, y) to D(c, s', y') (for photographs)"""

    detail_ridge: float = Field(default=0.01, gt=0, le=1)
    """how much M is drawn towards the identity, in squared units of [-1, 1]: with less, colours
    can change where they hardly vary"""

    style_patch: int = Field(default=0, ge=0, le=2048)
    """side in pixels of the patches that style is taken from, each seen alone, whatever its place;
    0: style is taken from the whole image"""

    style_dropout: float = Field(default=0.4, ge=0, lt=1)
    """share of the style features dropped in training, against memorizing the images"""

    condition: int = Field(default=64, ge=4, le=1024)
    """size of the vector that modulates the blocks"""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        """Take the sizes that are not given from the preset; of an unknown one, from tiny."""
        if not isinstance(values, Mapping):
            return values  # refused later

        preset = values.get("preset", "tiny")
        sizes = PRESETS.get(preset if isinstance(preset, str) else "", PRESETS["tiny"])
        return {**sizes, **values}

    @property
    def one_latent(self) -> bool:
        """Whether there is no content: all is in the style, as in a plain VAE."""
        return self.content_channels == 0

    @property
    def one_size(self) -> bool:
        """Whether the networks take images of the training size alone."""
        return self.one_latent or self.content == "vector"

    @property
    def stride(self) -> int:
        """Image pixels for each pixel of the lowest features: sizes are multiples of it."""
        return self.fold << self.levels

    def content_shape(self, size: int) -> tuple[int, ...]:
        """Return the shape of the content of an image of `size` px: (Cc, h, w) or (Cc,)."""
        if self.content == "vector":
            return (self.content_channels,)
        return (self.content_channels, size // self.fold, size // self.fold)


class ObjectiveConfig(_Section):
    """Weights of the terms, named as in the log; 0 switches a term off and saves its passes."""

    rec: Literal["l1", "mse"] = "l1"
    """L_r: sum over pixels of the absolute or squared error"""

    beta_rec: Weight = 1.0
    """weight of L_r(x)"""

    lambda_lpips: Weight = 0.0
    """weight of LPIPS(x, D(c, s, y)) of the evaluation's network, beside L_r(x); its weights are
    those that evaluate takes (INTROSHIFT_LPIPS_WEIGHTS)"""

    beta_kl_c: Weight = 0.02
    """weight of KL_c(x)"""

    beta_kl_s: float = Field(default=3.0, gt=0, le=MAX_WEIGHT)
    """weight of KL_s(x)"""

    beta_neg: Annotated[float, Field(le=MAX_WEIGHT)] | Literal["auto"] = "auto"
    """weight of KL_s(f) in the energy; auto: set when warm-up ends, from KL_s then"""

    beta_neg_c: Weight = 0.0
    """weight of KL_c(f) in the energy"""

    beta_fake: Weight = 0.4
    """weight of KL_s(f) in the decoder's loss"""

    beta_fake_c: Weight = 0.0
    """weight of KL_c(f) in the decoder's loss"""

    beta_rec_neg: Weight = 0.0
    """weight of L_r(f) in the energy"""

    gamma_r: Weight = 0.0
    """weight of L_r(f) in the decoder's loss, times beta_rec"""

    gamma_r1: Weight = 0.0
    """weight of R1 in the encoder's loss, the squared gradient of s beta_neg KL_s(x) in x: steadies
    a long game, at a sixth of its time more"""

    lambda_c: Weight = 0.0
    """content consistency |mu_c(t) - mu_c|"""

    lambda_s: Weight = 0.0
    """style consistency |mu_s(t) - s'|, where s' is the style of the translation t"""

    lambda_cyc: Weight = 2.0
    """image cycle L_r(x, D(c(T(t)), s(x), y))"""

    cycle_grad: bool = False
    """let the cycle change the translation it starts from (invites ghosts)"""

    translation: bool = True
    """negatives: translations"""

    exchange: bool = False
    """translations take the styles of other images of the batch; false: styles of the prior"""

    wrong_domain: bool = True
    """negatives: real images presented as another domain"""

    reconstruction: bool = False
    """negatives: reconstructions"""

    prior: bool = False
    """negatives: images decoded from the prior"""


class AugmentConfig(_Section):
    """Random changes on the device, in [0, 1] and float32."""

    content_share: Share = 0.5
    """share of the images whose content comes from a changed copy in warm-up"""

    game_share: Share = 0.25
    """the same in the introspective phase: keeps layout free"""

    cycle_share: Share = 0.0
    """share of the translations changed before they are translated back"""

    content_affine: Share = 0.5
    """strength of affine changes before c is taken"""

    content_warp: float = Field(default=0.5, ge=0, le=3)
    """strength of smooth warps before c is taken"""

    content_colour: Share = 0.0
    """strength of colour changes before c is taken"""

    content_hue: Share = 0.0
    """strength of turns of the hue before c is taken; 1: any hue"""

    energy_flip: Share = 0.0
    """probability of a left-right flip of real and fake before the energy, for things whose style
    is that of their mirror image"""

    energy_shift: float = Field(default=0.125, ge=0, le=0.5)
    """shift of real and fake before the energy, as a share of the size"""

    energy_whole_pixels: bool = False
    """whether that shift is by whole pixels: the encoder then sees the finest detail, which helps
    photographs and harms characters"""

    energy_cutout: Share = 0.5
    """probability of a cutout on real and fake before the energy"""

    memorized: Share | None = None
    """how far from trained images (0) to fakes (1) the energy of held-out ones may lie; above it,
    place and colours of more and more images are changed before the energy; null: never"""


TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class TrainConfig(_Section):
    """The order of steps."""

    steps: Count = 20_000
    """training steps"""

    warmup: Share = 0.3
    """share of the steps (or minutes) that train a plain VAE"""

    batch_size: int = Field(default=16, ge=1, le=65536)
    """images per domain and step"""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Adam's learning rate"""

    cooldown: Share = 0.0
    """last share of the steps, over which the learning rate falls to 0"""

    beta1: float = Field(default=0.5, ge=0, lt=1)
    """Adam's beta1"""

    beta2: float = Field(default=0.99, ge=0, lt=1)
    """Adam's beta2"""

    clip: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    """bound of the gradient norm, of encoder and decoder each; 0: none"""

    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """decay of the averaged weights that the model file holds"""

    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """seed of every random stream"""

    precision: Annotated[Precision, BeforeValidator(normalize_precision)] = "auto"
    """auto: bf16 where the GPU or the CPU computes it, else fp32"""

    compile: bool = False
    """torch.compile the networks; warns and continues where that cannot be done"""

    trackers: list[TrackerName] = []
    """logs to these, too: tensorboard (RUN/tensorboard), wandb, mlflow (MLFLOW_TRACKING_URI or
    RUN/mlflow); each is an extra of introshift"""

    max_minutes: float | None = Field(default=None, gt=0, le=1e7)
    """end after this many minutes, the closing included; schedules then follow the time"""

    log_every: Count = 50
    """steps between lines of stats.jsonl"""

    score_every: Count = 1000
    """steps between scores of the held-out images (scores.jsonl, model.safetensors)"""

    sample_every: Count = 500
    """steps between sample grids"""

    checkpoint_every: Count = 500
    """steps between training states"""

    @model_validator(mode="before")
    @classmethod
    def _read_old_key(cls, values: Any) -> Any:
        """Read what configs and models of version 0.1.0 say: `tensorboard: true` or `false`."""
        if not isinstance(values, Mapping) or not isinstance(values.get("tensorboard"), bool):
            return values

        read = {key: value for key, value in values.items() if key != "tensorboard"}
        if values["tensorboard"]:
            read.setdefault("trackers", ["tensorboard"])
        return read


class EvaluateConfig(_Section):
    """How translations are evaluated."""

    lpips_net: Literal["alex", "vgg", "squeeze"] = "alex"
    """LPIPS network"""


class Config(_Section):
    """The whole config, immutable and validated."""

    data: DataConfig = DataConfig()
    model: ModelConfig = Field(default_factory=lambda: ModelConfig.model_validate({}))
    objective: ObjectiveConfig = ObjectiveConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="before")
    @classmethod
    def _fill_for_one_domain(cls, values: Any) -> Any:
        """Take what is not given from ONE_DOMAIN, where there is one domain alone."""
        data = values.get("data") if isinstance(values, Mapping) else None
        domains = data.get("domains") if isinstance(data, Mapping) else None
        if not isinstance(domains, Mapping) or len(domains) != 1:
            return values

        filled = dict(values)
        for section, defaults in ONE_DOMAIN.items():
            given = values.get(section) or {}
            # what is no section is refused later
            if isinstance(given, Mapping):
                filled[section] = {**defaults, **given}
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        """Refuse settings that are valid one by one but not together."""
        if self.model.one_latent and len(self.data.names) > 1:
            raise ValueError(
                "model.content_channels: 0 leaves nothing to translate; use 1 or more, such as 8"
            )

        if self.model.one_latent and self.objective.beta_neg == "auto" and self.train.warmup == 0:
            raise ValueError(
                "objective.beta_neg: auto follows KL_s of the warm-up, and train.warmup is 0; give "
                "a number, such as 64"
            )

        size = self.data.size
        stride = self.model.stride
        if size % stride:
            near = max(stride, round(size / stride) * stride)
            raise ValueError(
                f"data.size: {size} is no multiple of the model's stride {stride}; use {near}"
            )

        patch = self.model.style_patch
        if patch % stride or size % max(patch, 1) or (patch and self.model.one_latent):
            raise ValueError(
                f"model.style_patch: {patch} must be a multiple of the model's stride {stride} "
                f"that divides data.size {size}, in a model with content; use 0 for whole images"
            )
        if self.objective.exchange and self.train.batch_size < 2:
            raise ValueError("objective.exchange: needs another image; use train.batch_size 2")

        load_size = self.data.load_size
        if load_size is not None and load_size < size:
            raise ValueError(f"data.load_size: {load_size} is below data.size {size}; raise it")
        return self

    def read_from(self, folder: Path) -> Config:
        """Return this config, read from a file in `folder`, for use in the current one."""
        return self.model_copy(update={"data": self.data.read_from(folder)})

    def written_to(self, folder: Path) -> Config:
        """Return this config, in use in the current folder, for a file in `folder`."""
        return self.model_copy(update={"data": self.data.written_to(folder)})

    @classmethod
    def schema_of_files(cls) -> dict[str, Any]:
        """Return a JSON schema of config files, in which everything may be left out."""
        schema = cls.model_json_schema()
        for section in (schema, *schema["$defs"].values()):
            section.pop("required", None)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    def to_yaml(self) -> str:
        """Return the resolved config as YAML that reads back to the same config."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a config may not hold."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number (YAML 1.1 asks for a dot and takes it for text).

    It refuses aliases (a few hundred bytes of them stand for gigabytes), a key given twice (YAML's
    loader silently drops the first) and nesting that no config needs.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise _Refused(
                problem="aliases (*name) are not supported; write the value out",
                problem_mark=mark,
            )
        if self.depth >= MAX_DEPTH:
            raise _Refused(
                problem=f"nested more than {MAX_DEPTH} levels deep; use section: {{key: value}}",
                problem_mark=mark,
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # super() refuses it
            if key in seen:
                raise _Refused(
                    problem=f"the key {_clip(str(key))} is given twice; remove one",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


_shown = reprlib.Repr()
_shown.maxstring = 120
_shown.maxother = 120
_shown.maxlevel = 3


def _show(value: object) -> str:
    """Return a value as an error message shows it: its repr, shortened where it is long."""
    try:
        return _shown.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"


def _clip(text: str) -> str:
    """Return text as an error message shows it, on one line and of bounded length."""
    line = " ".join(text.splitlines())
    return line if len(line) <= 200 else f"{line[:120]}...{line[-40:]}"


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML safely.

    Args:
        text: the YAML.
        origin: where it comes from, for messages.

    Returns:
        What the text holds: None, a number, text, a list or a dict.

    Raises:
        ConfigError: the text is not valid YAML, or has aliases, a key twice or more than
            MAX_DEPTH levels; the message names `origin` and the line.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        if isinstance(error, _Refused):
            raise ConfigError(f"{origin}:{where}: {error.problem}") from None
        problem = _clip(str(getattr(error, "problem", None) or error))
        raise ConfigError(f"{origin}:{where} is not valid YAML: {problem}") from None
    except (ValueError, OverflowError) as error:  # such as the date 2026-13-01 or a number too long
        problem = _clip(str(error))
        raise ConfigError(f"{origin}: holds a value that cannot be read: {problem}") from None


def _names_at(path: Sequence[str]) -> list[str]:
    """List the valid keys of the section that `path` leads to."""
    section: Any = Config
    for name in path:
        field = section.model_fields.get(name)
        section = field.annotation if field else None
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return []
    return list(section.model_fields)


def _describe(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors as `key: problem; remedy`, on one line."""
    loc = [_clip(str(part)) for part in error["loc"]]
    key = ".".join(loc)
    valid = _names_at(loc[:-1])
    listed = f"valid keys are {', '.join(valid)}"

    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(loc[-1], valid, 1)
        remedy = f"did you mean {'.'.join([*loc[:-1], near[0]])}?" if near else listed
        return f"{key}: unknown key; {remedy}"
    if error["type"] == "invalid_key":
        return f"{key}: keys are text; {listed}"

    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return str(message)

    path: list[str] = []
    for part in loc:  # a union adds the names of its members to the path: keep what names a key
        if part not in _names_at(path):
            break
        path.append(part)
    reason = message[0].lower() + message[1:]
    return f"{'.'.join(path)}: {_show(error['input'])} is not allowed; {reason}"


def from_dict(values: Any, origin: str = "config") -> Config:
    """Validate a nested mapping.

    Args:
        values: section -> key -> value; None for a config of defaults.
        origin: where the values come from, for messages.

    Returns:
        The validated config.

    Raises:
        ConfigError: with every problem, a line each, MAX_PROBLEMS at most.
    """
    if values is not None and not isinstance(values, Mapping):
        sections = ", ".join(Config.model_fields)
        raise ConfigError(f"{origin}: a mapping of sections ({sections}) is expected")

    try:
        return Config.model_validate(values or {})
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = dict.fromkeys(_describe(problem) for problem in problems)
        shown = [f"{origin}: {line}" for line in list(lines)[:MAX_PROBLEMS]]
        if len(lines) > MAX_PROBLEMS:
            shown.append(f"{origin}: and {len(lines) - MAX_PROBLEMS} more problems")
        raise ConfigError("\n".join(shown)) from None


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
) -> Config:
    """Read a YAML config and change settings.

    Folders in the file are relative to the file, those in `overrides` and `options` to the current
    folder (domains and tests, where there is a `data.root`, to that).

    Args:
        path: the YAML file.
        overrides: `section.key=value` texts, as of --set; the values are YAML.
        options: dotted key -> value, taken as it is; applied after `overrides`.

    Returns:
        The validated config, whose folders are relative to the current one.

    Raises:
        ConfigError: the file cannot be read, or its settings with the changes are not valid.
    """
    origin = str(path)
    folder = Path(path).parent
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8"), origin)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as a config ({error}); give a YAML file"
        raise ConfigError(message) from None

    if values is not None and not isinstance(values, dict):
        return from_dict(values, origin)  # which refuses it

    changes = _changes(overrides, options)
    if any(key == "data.root" for key, _ in changes):
        return from_dict(_changed(values or {}, changes), origin)
    data = (values or {}).get("data")
    has_root = isinstance(data, dict) and data.get("root") is not None
    if not has_root:  # the file's folder stands for it, and the changes are not relative to that
        changes = [(key, _folders_from(folder, key, value)) for key, value in changes]
    return from_dict(_changed(values or {}, changes), origin).read_from(folder)


def _folders_from(folder: Path, key: str, value: object) -> object:
    """Return a new value of a setting; folders of pictures as a file in `folder` names them."""
    if not key.startswith(("data.domains", "data.tests")):
        return value
    if isinstance(value, dict):
        return {name: _folders_from(folder, key, path) for name, path in value.items()}
    if not isinstance(value, str) or os.path.isabs(value) or folder.resolve() == Path.cwd():
        return value
    return path_from(folder, Path(value))


def override(
    values: dict[str, Any],
    overrides: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Change settings of a nested mapping.

    Args:
        values: section -> key -> value; not changed.
        overrides: `section.key=value` texts, as of --set; the values are YAML.
        options: dotted key -> value, taken as it is; applied after `overrides`.

    Returns:
        A copy of `values` with the changes.

    Raises:
        ConfigError: a malformed override.
    """
    return _changed(values, _changes(overrides, options))


def _changes(
    overrides: Sequence[str], options: Mapping[str, object] | None
) -> list[tuple[str, object]]:
    """Read the arguments of `override` as (dotted key, value), in order."""
    changes: list[tuple[str, object]] = []
    for item in overrides:
        path, equals, text = item.partition("=")
        if not equals or not _is_setting(path):
            example = "section.key=value, such as train.steps=2000"
            raise ConfigError(f"--set {_clip(item)}: expected {example}")
        changes.append((path, parse_yaml(text, f"--set {_clip(item)}")))
    for path, value in (options or {}).items():
        if not _is_setting(path):
            raise ConfigError(f"{_clip(path)}: expected section.key, such as train.steps")
        changes.append((path, value))
    return changes


def _changed(values: dict[str, Any], changes: Sequence[tuple[str, object]]) -> dict[str, Any]:
    """Return a copy of a nested mapping with (dotted key, value) entered."""
    changed: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for path, value in changes:
        _assign(changed, path, value)
    return changed


def _is_setting(path: str) -> bool:
    """Whether a dotted path names a section and a key."""
    keys = path.split(".")
    return len(keys) >= 2 and all(keys)


def _assign(values: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path, making the sections that lead to it."""
    *sections, last = path.split(".")
    node = values
    for key in sections:
        inner = node.get(key) or {}
        node[key] = dict(inner) if isinstance(inner, dict) else {}
        node = node[key]

    if path in ("data.domains.A", "data.domains.B") and not node:
        node.update({name: f"train{name}" for name in ("A", "B")})  # both are there, unnamed
    node[last] = value
