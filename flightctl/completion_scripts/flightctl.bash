# bash completion for flightctl: source this, or put it where bash-completion looks.

_flightctl() {
    local value
    COMPREPLY=()
    while IFS= read -r value; do
        if [[ $value == :files ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("$value")
        fi
    done < <("$1" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)
}
complete -o nosort -F _flightctl flightctl 2>/dev/null || complete -F _flightctl flightctl
