/* Texts without their numbers: see flows/enrichment/patterns.py. */

#include "native.h"

/* What a word with a digit in it consists of; of JOINTs one, behind the digit two may be in it. */
enum { PART = 1, DOT = 2, COLON = 4, DIGIT = 8 };

static const byte KINDS[256] = {
    ['0' ... '9'] = PART | DIGIT,
    ['a' ... 'z'] = PART,
    ['A' ... 'Z'] = PART,
    ['_'] = PART,
    ['$'] = PART,
    ['@'] = PART,
    ['#'] = PART,
    ['/'] = PART,
    ['*'] = PART,
    ['+'] = PART,
    ['~'] = PART,
    ['-'] = PART,
    ['.'] = DOT,
    [':'] = COLON,
};

static bool is_part(const byte *at, const byte *end)
{
    return at < end && KINDS[*at] & PART;
}

static bool is_joint(const byte *at, const byte *end)
{
    return at < end && KINDS[*at] & (DOT | COLON);
}

/* Where the word begins that has this digit, not before `begin`. */
static const byte *begin_of(const byte *begin, const byte *digit)
{
    const byte *at = digit;

    for (;;) {
        while (at > begin && KINDS[at[-1]] & PART)
            at--;
        if (at - begin < 2 || at[-1] != '.' || !(KINDS[at[-2]] & PART))
            return at;
        at -= 2;
    }
}

static const byte *end_of(const byte *at, const byte *end)
{
    for (;;) {
        while (is_part(at, end))
            at++;
        const byte *behind = at + is_joint(at, end);
        behind += behind > at && is_joint(behind, end);
        if (!is_part(behind, end))
            return at;
        at = behind;
    }
}

/* Puts the text with `<*>` for every word that has a digit. Returns where it ends, or `to`. */
static byte *mask(byte *to, const byte *at, int64_t size)
{
    const byte *end = at + size, *copied = at;

    for (; at < end; at++) {
        if (!(KINDS[*at] & DIGIT))
            continue;
        const byte *begin = begin_of(copied, at);
        memcpy(to, copied, (size_t)(begin - copied));
        to += begin - copied;
        memcpy(to, "<*>", 3);
        to += 3;
        copied = at = end_of(at, end);
        if (at == end)
            return to;
    }
    if (copied == end - size)
        return to;
    memcpy(to, copied, (size_t)(end - copied));
    return to + (end - copied);
}

/*
 * Fills in each of `count` texts with `<*>` in the place of every word that has a digit. What has
 * none stays where it is, the others are in `made`, which is buffer number `made_is` and has room
 * for twice the bytes of all texts, and 64 more. Returns how many bytes these are.
 */
int64_t logwax_mask_numbers(const View *texts, const byte *const *buffers, int64_t count,
                            View *masked, byte *made, int32_t made_is)
{
    byte *to = made;

    for (int64_t row = 0; row < count; row++) {
        const View *view = &texts[row];
        expect(texts, row, count, buffers);
        byte *end = mask(to, bytes_of(view, buffers), view->size);
        masked[row] = end > to ? view_of(to, end - to, made_is, made) : *view;
        to = end;
    }
    return to - made;
}
