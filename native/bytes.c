/* Bytes, before anything is known of them: where lines end. */

#include "native.h"

/* Fills in the places behind newlines, `room` at most; returns how many newlines there are. */
int64_t logwax_find_newlines(const byte *begin, int64_t size, int64_t *places, int64_t room)
{
    const byte *at = begin;
    int64_t count = 0;

    for (; begin + size - at >= 4 * LANES; at += 4 * LANES) {
        uint64_t which = 0;
        for (int part = 0; part < 4 * LANES; part += LANES)
            which |= (uint64_t)bits(load(at + part) == '\n') << part;
        for (; which; which &= which - 1, count++)
            if (count < room)
                places[count] = at + __builtin_ctzll(which) + 1 - begin;
    }
    for (; at < begin + size; at++) {
        if (*at != '\n')
            continue;
        if (count < room)
            places[count] = at + 1 - begin;
        count++;
    }
    return count;
}
