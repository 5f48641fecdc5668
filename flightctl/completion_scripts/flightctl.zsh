#compdef flightctl
# zsh completion for flightctl: source this, or put it as _flightctl into a folder of $fpath.

_flightctl() {
    local value about
    local -a values lines
    while IFS=$'\t' read -r value about; do
        if [[ $value == :files ]]; then
            _files
            return
        fi
        values+=("$value")
        lines+=("$value${about:+  -- $about}")
    done < <("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null </dev/null)
    # -U: what is typed in small letters, or as a city, is taken out for the value.
    (( $#values )) && compadd -U -V flightctl -l -d lines -a values
}

if [[ $funcstack[1] == _flightctl ]]; then
    _flightctl "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _flightctl flightctl
fi
