/* Which texts of a column are equal. */

#include "native.h"

static inline uint64_t mix(uint64_t left, uint64_t right)
{
    Wide product = (Wide)left * right;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* With `secrets` of this process, since nobody shall choose texts that fall together. */
static uint64_t hash_of(const View *view, const byte *text, const uint64_t *secrets)
{
    int64_t size = view->size;

    if (size <= (int64_t)sizeof view->here)
        return mix(word_at(view) ^ secrets[0], word_at((const byte *)view + 8) ^ secrets[1]);
    const byte *end = text + size, *last = size < 16 ? text : end - 16;
    uint64_t hash = (uint64_t)size;
    for (; text < last; text += 16)
        hash = mix(word_at(text) ^ secrets[0] ^ hash, word_at(text + 8) ^ secrets[1]);
    return mix(word_at(last) ^ secrets[0] ^ hash, word_at(end - 8) ^ secrets[1]);
}

static inline bool are_equal(const View *one, const View *other, const byte *const *buffers)
{
    if (word_at(one) != word_at(other)) /* size and first bytes */
        return false;
    if (one->size <= (int32_t)sizeof one->here)
        return word_at((const byte *)one + 8) == word_at((const byte *)other + 8);
    return !memcmp(bytes_of(one, buffers), bytes_of(other, buffers), one->size);
}

/*
 * Fills in which of the distinct texts each row has, and in which row each of them is first.
 * `slots` are a power of two, `mask` is one less, and hold -1 each. Returns how many there are, -1
 * if more than `most`, which is less than the slots.
 */
int64_t logwax_number_texts(const View *views, const byte *const *buffers, int64_t rows,
                            const uint64_t *secrets, int32_t *slots, int64_t mask, int64_t most,
                            uint32_t *numbers, uint32_t *firsts)
{
    int64_t count = 0;

    for (int64_t row = 0; row < rows; row++) {
        const View *view = &views[row];
        expect(views, row, rows, buffers);
        uint64_t slot = hash_of(view, bytes_of(view, buffers), secrets) & (uint64_t)mask;
        while (slots[slot] >= 0 && !are_equal(&views[firsts[slots[slot]]], view, buffers))
            slot = (slot + 1) & (uint64_t)mask;
        if (slots[slot] < 0) {
            if (count == most)
                return -1;
            firsts[count] = (uint32_t)row;
            slots[slot] = (int32_t)count++;
        }
        numbers[row] = (uint32_t)slots[slot];
    }
    return count;
}
