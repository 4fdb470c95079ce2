"""Export a trained model to files of other programs, or to a repository of the Hugging Face Hub.

python experiments/export.py RUN --export onnx model.onnx
python experiments/export.py RUN --export timm model.pth --export safetensors model.safetensors --patch 8
python experiments/export.py RUN --hub OWNER/NAME --out FOLDER
RUN is the folder of a finished run, or with --export what scaling.load takes. Each file is loaded again, and the
largest difference of its outputs is printed: at most 1e-5, else no file is written. --hub uploads; with --out it
writes the files into FOLDER instead.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import NoReturn

from analysis.report.output import Parser, write_files
from analysis.report.recipes_option import add_recipes
from experiments.cli import arguments  # before torch: experiments/__init__.py sets how threads wait
from experiments.cli.options import nested_yaml
from scaling.errors import ConfigError
from scaling.runs.finished_run import finished_run

FORMS = ("timm", "safetensors", "onnx", "pt2")


def main(argv: list[str] | None = None) -> int:
    args = _arguments(argv)
    return _to_hub(args) if args.hub else _to_files(args)


def _to_files(args: Namespace) -> int:
    """One file per --export, none where a form cannot be exported. A file that cannot be written is a line, and the
    others are written."""
    paths = [Path(file).expanduser() for _, file in args.export]
    for (form, file), path in zip(args.export, paths, strict=True):
        if not path.parent.is_dir():
            raise ConfigError(f"--export {form} {file}: there is no folder {path.parent}")
        if path.is_dir():
            raise ConfigError(f"--export {form} {file} is a folder; name a file in it")
        if form == "safetensors" and path.suffix != ".safetensors":
            raise ConfigError(f"--export {form} {file}: scaling.load knows such a file by its ending, .safetensors")
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise ConfigError(f"--export {form} {file}: another --export names this file too")
    from scaling.inference.exports import exported
    from scaling.inference.sources import load
    from scaling.runs.atomic_files import write_atomically

    trained = load(args.run)
    made, refused = [], 0
    for form, file in args.export:
        try:
            made.append(exported(trained, form, args.patch))
        except ConfigError as e:
            print(f"error: {file}: {e}", file=sys.stderr)
            refused += 1
    if refused:
        return 2
    for (form, _), path, one in zip(args.export, paths, made, strict=True):
        try:
            write_atomically(path, one.content)
        except OSError as e:
            print(f"error: {path}: {e}", file=sys.stderr)
            refused += 1
        else:
            print(f"wrote {path}: {form}, {one.patches}; largest difference {one.difference:.1e}")
    return 2 if refused else 0


def _to_hub(args: Namespace) -> int:
    run = Path(args.run).expanduser()
    record = finished_run(run)
    from analysis.report.law_of_run import law_of_run
    from scaling.inference.described_weights import without_places
    from scaling.inference.fixed_patch import at_one_patch
    from scaling.inference.hub_repository import check_name, repository_files, upload
    from scaling.inference.sources import load

    check_name(args.hub)
    trained = load(args.run)
    model = trained if args.patch is None else at_one_patch(trained, args.patch)
    law, recipe = law_of_run(run), nested_yaml(without_places(record.experiment()))
    files, difference = repository_files(model, record, args.hub, law, recipe)
    if args.out:
        write_files(Path(args.out).expanduser(), files)
        where = f"wrote {args.out}: what --hub {args.hub} uploads"
    else:
        where = f"uploaded {upload(files, args.hub, args.private)}"
    print(f"{where}; largest difference {difference:.1e}")
    return 0


def _arguments(argv: list[str] | None) -> Namespace:
    parser = Parser(prog="export.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a finished run; with --export also an exported file")
    parser.add_argument(
        "--export",
        nargs=2,
        action="append",
        default=[],
        metavar=("FORM", "FILE"),
        help=f"write a file; FORM: {', '.join(FORMS)}; may be repeated",
    )
    parser.add_argument("--patch", type=int, help="patch size of a flexible model; default: all, or the finest [px]")
    parser.add_argument("--hub", metavar="OWNER/NAME", help="upload to this repository of the Hugging Face Hub")
    parser.add_argument("--out", metavar="FOLDER", help="with --hub: write its files here, and upload nothing")
    parser.add_argument("--private", action="store_true", help="with --hub: a new repository is private")
    add_recipes(parser)
    args = parser.parse_args(argv)
    if bool(args.hub) == bool(args.export):
        raise ConfigError(f"give either --export FORM FILE (FORM: {', '.join(FORMS)}) or --hub OWNER/NAME")
    if not args.hub and (args.out or args.private):
        raise ConfigError("--out and --private are for --hub; --export names its file itself")
    for form, _ in args.export:
        if form not in FORMS:
            raise ConfigError(f"--export {form}: choose from {', '.join(FORMS)}")
    return args


def program() -> NoReturn:
    """The program, with its exit status."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
