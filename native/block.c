/* Texts of a column as ClickHouse's format Native has them. */

#include "native.h"

static const int64_t MOST_SIZE = 5;

/* How many bytes they are written in at most. */
int64_t logwax_room_of_texts(const View *views, int64_t rows)
{
    int64_t room = rows * MOST_SIZE;

    for (int64_t row = 0; row < rows; row++)
        room += views[row].size;
    return room;
}

/* Each text after its size, as a varint. Returns how many bytes these are. */
int64_t logwax_write_texts(const View *views, const byte *const *buffers, int64_t rows, byte *to)
{
    const byte *begin = to;

    for (int64_t row = 0; row < rows; row++) {
        uint32_t size = (uint32_t)views[row].size;
        const byte *text = bytes_of(&views[row], buffers);
        for (; size >= 128; size >>= 7)
            *to++ = (byte)(size | 128);
        *to++ = (byte)size;
        memcpy(to, text, views[row].size);
        to += views[row].size;
    }
    return to - begin;
}
