/* Texts of a column as ClickHouse's format Native has them. */

#include "native.h"

enum { SLOTS = 1024 }; /* a power of two, some times MOST_DISTINCT */
static const int64_t MOST_DISTINCT = 256, MOST_SIZE = 5;

static inline uint64_t read_some(const byte *at, int64_t size)
{
    uint64_t some = 0;
    memcpy(&some, at, size < 8 ? size : 8);
    return some;
}

/* Cheap: of long texts the beginning, the end and the size are looked at. */
static inline uint64_t slot_of(const byte *at, int64_t size)
{
    uint64_t hash = read_some(at, size);
    if (size > 8)
        hash ^= read_some(at + size - 8, 8) * 0x9e3779b97f4a7c15;
    return ((hash + size) * 0xff51afd7ed558ccd) >> 54;
}

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

/*
 * Which of the distinct texts each row has, and in which row each of them is found first. Returns
 * how many there are, -1 if more than 256.
 */
int64_t logwax_number_texts(const View *views, const byte *const *buffers, int64_t rows,
                            byte *numbers, uint32_t *firsts)
{
    int16_t slots[SLOTS]; /* the number of a text, -1: none */
    int64_t count = 0;

    memset(slots, 0xff, sizeof slots);
    for (int64_t row = 0; row < rows; row++) {
        int64_t size = views[row].size;
        const byte *text = bytes_of(&views[row], buffers);
        uint64_t slot = slot_of(text, size);
        for (;; slot = (slot + 1) % SLOTS) {
            int16_t number = slots[slot];
            if (number < 0) {
                if (count == MOST_DISTINCT)
                    return -1;
                firsts[count] = (uint32_t)row;
                slots[slot] = number = (int16_t)count++;
            }
            const View *found = &views[firsts[number]];
            if (found->size == size && !memcmp(bytes_of(found, buffers), text, size)) {
                numbers[row] = (byte)number;
                break;
            }
        }
    }
    return count;
}
