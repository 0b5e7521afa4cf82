#!/usr/bin/env bash
# Says how much of an ATmega328 the sketches take, built as the Arduino IDE builds them for an Uno.
#
#   apt-get install gcc-avr avr-libc arduino-core-avr
#   examples/arduino/size.sh
set -euo pipefail
cd "$(dirname "$0")"

core=${ARDUINO_CORE:-/usr/share/arduino/hardware/arduino/avr}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
board=(-mmcu=atmega328p -DF_CPU=16000000L -DARDUINO=10819 -DARDUINO_AVR_UNO -DARDUINO_ARCH_AVR)
flags=(-Os -w -ffunction-sections -fdata-sections -flto -fno-fat-lto-objects)
includes=(-I "$core/cores/arduino" -I "$core/variants/standard" -I mqttsn/src)
# avr-gcc 5 does not define DECIMAL_DIG, which the core wants.
cxx=(avr-g++ "${board[@]}" "${flags[@]}" "${includes[@]}" -DDECIMAL_DIG=17 -std=gnu++11 -fpermissive -fno-exceptions
    -fno-threadsafe-statics)

for source in "$core"/cores/arduino/*.cpp; do
    "${cxx[@]}" -c "$source" -o "$out/core_$(basename "$source").o"
done
for source in "$core"/cores/arduino/*.c; do
    avr-gcc "${board[@]}" "${flags[@]}" "${includes[@]}" -std=gnu11 -c "$source" -o "$out/core_$(basename "$source").o"
done
for source in "$core"/cores/arduino/*.S; do
    avr-gcc "${board[@]}" "${includes[@]}" -x assembler-with-cpp -c "$source" -o "$out/core_$(basename "$source").o"
done
avr-gcc-ar rcs "$out/core.a" "$out"/core_*.o

"${cxx[@]}" -c mqttsn/src/mqttsn_client.cpp -o "$out/client.o"
# Without its insides known, nothing that a radio would need is left out.
"${cxx[@]}" -fno-lto -c forwarder/radio.cpp -o "$out/radio.o"
"${cxx[@]}" -x c++ -c node/node.ino -o "$out/node.o"
"${cxx[@]}" -x c++ -c forwarder/forwarder.ino -o "$out/forwarder.o"

measure() {
    local name=$1
    shift
    avr-gcc -flto -fuse-linker-plugin -Os -Wl,--gc-sections -mmcu=atmega328p -o "$out/$name.elf" "$@" "$out/core.a" -lm
    printf '%-10s %s\n' "$name" "$(avr-size -C --mcu=atmega328p "$out/$name.elf" | awk '
        /^Program:/ { program = $2 }
        /^Data:/ { printf "flash %d of 32768 octets, RAM %d of 2048", program, $2 }')"
}
measure node "$out/node.o" "$out/client.o"
measure forwarder "$out/forwarder.o" "$out/radio.o"
