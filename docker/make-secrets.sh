#!/usr/bin/env bash
# Tạo thư mục secrets/ cho docker-compose.yml / makes the folder secrets/ for docker-compose.yml.
#
#   docker/make-secrets.sh               những gì tự sinh được / what can be made up
#   docker/make-secrets.sh --simulators  thêm phần của hệ thống mô phỏng / and what the simulators need
#
# Không ghi đè tệp đã có / writes over nothing. HUB_SECRETS: another folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${HUB_SECRETS:-secrets}
umask 077
mkdir -p "$folder"
# The folder keeps others on this machine out. The files must be readable for all, because each service
# runs under a user of its own, and compose mounts files with the rights that they have.
chmod 0700 "$folder"

random() { head -c "$1" /dev/urandom | base64 -w 0; }
password() { random 24 | tr '+/' '-_'; } # also fit for an address

keep() { # name: the content comes on standard input, unless the file is there
    local file=$folder/$1
    if [[ -e $file ]]; then
        cat >/dev/null # or the writer would die of a broken pipe
        echo "giữ nguyên / left alone: $file"
    else
        cat >"$file"
        chmod 0444 "$file"
        echo "đã tạo / made: $file"
    fi
}

random 32 | keep master_key
random 32 | keep hash_key
password | keep postgres_password
password | keep ledger_password
password | keep registry_password
password | keep grafana_password
printf 'postgresql+psycopg://ledger:%s@postgres:5432/ledger' "$(<"$folder/ledger_password")" | keep ledger_url
printf 'apicurio.datasource.password=%s\n' "$(<"$folder/registry_password")" | keep registry.properties

case ${1:-} in
--simulators)
    printf 'sqlite:////var/lib/one-stop/one-stop.db' | keep one_stop_url
    printf 'thongsuot' | keep portal_password
    ;;
'') ;;
*)
    echo "không có lựa chọn / no such option: $1" >&2
    exit 2
    ;;
esac

missing=()
for name in one_stop_url portal_password; do
    [[ -e $folder/$name ]] || missing+=("$folder/$name")
done
if ((${#missing[@]})); then
    echo
    echo "Còn phải tự ghi / still to be written by hand: ${missing[*]}"
    echo "  one_stop_url     mysql+pymysql://user:password@host:3306/lportal (tài khoản chỉ đọc / read-only)"
    echo "  portal_password  mật khẩu tài khoản của đơn vị trên Cổng / password of the agency's portal account"
    echo "  rồi / then: chmod 0444 ${missing[*]}"
fi
echo
echo "Sao lưu master_key và hash_key riêng khỏi bản sao lưu cơ sở dữ liệu; mất chúng là không mở được dữ liệu."
echo "Back master_key and hash_key up apart from the database; without them nothing sealed can be opened."
