/* Where lines end. */

#include "native.h"

/* How many newlines there are. */
int64_t logwax_count_newlines(const byte *at, int64_t size)
{
    int64_t count = 0;

    for (const byte *end = at + size; (at = memchr(at, '\n', end - at)); at++)
        count++;
    return count;
}

/* Fills in the places behind all newlines. */
void logwax_find_newlines(const byte *begin, int64_t size, int64_t *places)
{
    const byte *at = begin;

    for (const byte *end = at + size; (at = memchr(at, '\n', end - at));)
        *places++ = ++at - begin;
}
