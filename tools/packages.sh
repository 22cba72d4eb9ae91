# shellcheck shell=bash
# Which of Debian's packages what needs, and how they get onto the machine. Sourced by quickstart,
# check and .ci/run.

# To build the daemon. gcc brings libgomp and the sanitizers.
# shellcheck disable=SC2034
packages_build=(gcc libc6-dev meson ninja-build pkg-config python3 libdnnl-dev libmicrohttpd-dev
                libcjson-dev libsqlite3-dev nettle-dev libjpeg62-turbo-dev libpng-dev)
# shellcheck disable=SC2034
packages_demonstration=(curl jq)
# shellcheck disable=SC2034
packages_check=(g++ libcmocka-dev clang-format shellcheck systemd curl git jq)
# shellcheck disable=SC2034
packages_crosscheck=(python3-torch python3-torchvision python3-numpy python3-pil chromium
                     chromium-driver)

# packages_missing NAME…: those that are not installed. npm counts as there when the command is:
# Node.js from elsewhere brings its own, and Debian's would not install beside it.
packages_missing() {
    local package
    for package in "$@"; do
        if [ "$package" = npm ] && command -v npm >/dev/null; then
            continue
        fi
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) echo "$package" ;;
        esac
    done
}

# packages_install NAME…: installs what is missing, as root or with sudo; else says what to do.
packages_install() {
    local missing as_root=()
    mapfile -t missing < <(packages_missing "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -v; then
            printf '%s\n  apt-get install --no-install-recommends %s\n' \
                   'Packages are missing, and this is neither root nor allowed to sudo. As root:' \
                   "${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    if ! { "${as_root[@]}" update &&
           "${as_root[@]}" install --no-install-recommends "${missing[@]}"; } \
            >"${packages_log:=$(mktemp)}" 2>&1; then
        tail -20 "$packages_log" >&2
        echo "These packages could not be installed: ${missing[*]}" >&2
        return 1
    fi
}
