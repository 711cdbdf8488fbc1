"""``coldlm completion``: what the Tab key needs, for bash, zsh and fish."""

from __future__ import annotations

from collections.abc import Sequence

from coldlm.commands import COMMANDS
from coldlm.core.errors import ConfigError

BASH = """\
_coldlm() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\\n' cut=
    local word="${line##*[[:space:]]}"
    local found=($("${COMP_WORDS[0]}" completion query "$line" 2>/dev/null))
    # bash completes what stands behind the last =, unless it was told that = parts no words
    [[ $COMP_WORDBREAKS == *=* ]] && cut="${word%"${word##*=}"}"
    COMPREPLY=("${found[@]#"$cut"}")
    [[ ${#found[@]} -eq 1 && $found == *[=.] ]] && type compopt &>/dev/null && compopt -o nospace
    return 0
}
complete -o default -F _coldlm coldlm
"""

ZSH = """\
#compdef coldlm
_coldlm() {
    local -a found
    found=("${(@f)$("${words[1]}" completion query "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found ]]; then compadd -Q -S '' -- "${found[@]}"; else _files; fi
}
compdef _coldlm coldlm
"""

FISH = """\
complete -c coldlm -e
complete -c coldlm -a '(coldlm completion query (commandline -cp) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

HELP = """\
usage: coldlm completion bash|zsh|fish

Print what makes the Tab key complete commands, groups, options, keys and values.

  bash   eval "$(coldlm completion bash)"        now; in ~/.bashrc, in every shell to come
  zsh    eval "$(coldlm completion zsh)"         after compinit; in ~/.zshrc, in every shell to come
  fish   coldlm completion fish | source         in ~/.config/fish/config.fish, in every shell to come
"""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm completion`` with ``argv`` (without the program's name).

    Raises:
        ConfigError: another shell.
    """
    if not argv or argv[0] in ("--help", "-h"):
        print(HELP, end="")
        return 0
    if argv[0] == "query":  # the scripts' own question: all that stands before the cursor
        print("\n".join(query(" ".join(argv[1:]))))
        return 0
    if argv[0] not in SCRIPTS or len(argv) > 1:
        raise ConfigError(
            f"coldlm completion {' '.join(argv)}: got no shell that is known; one of "
            f"{', '.join(SCRIPTS)}"
        )
    print(SCRIPTS[argv[0]], end="")
    return 0


def query(line: str) -> list[str]:
    """Return what may stand at the end of a command line; [] where only files may.

    >>> query("coldlm ru"), query("coldlm run strategy=lora strategy.ran"), query("coldlm report ru")
    (['run'], ['strategy.rank='], [])
    """
    words = line.split()
    word = words.pop() if words and not line[-1].isspace() else ""
    _, *given = words or [""]
    if not given:
        return [command for command in COMMANDS if command.startswith(word)]
    command, *given = given
    if command in ("run", "tune", "export", "evaluate"):
        from coldlm.config.completion import complete

        return complete(given, word)
    return [each for each in _words(command, given) if each.startswith(word)]


def _words(command: str, given: Sequence[str]) -> Sequence[str]:
    """What the other commands take in this place."""
    if command == "completion":
        return () if given else tuple(SCRIPTS)
    if command != "data":
        return ()
    from coldlm.data.sources.catalogue import SOURCES

    return tuple(SOURCES) if given else ("list", "fetch", "verify", "card", "check")
