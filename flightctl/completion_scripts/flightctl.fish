# fish completion for flightctl: source this, or put it into ~/.config/fish/completions.

function __flightctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program __complete fish $words "$current" 2>/dev/null </dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c flightctl -f -k -a '(__flightctl_complete)'
