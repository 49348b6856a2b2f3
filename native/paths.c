/* Paths of requests without what differs from one request to the next. */

#include "native.h"

/* A number, a UUID (RFC 9562), or 16 and more hexadecimal digits; nothing but these and dashes. */
static bool is_id(const byte *at, int64_t size)
{
    int64_t dashes = 0, letters = 0;

    for (int64_t place = 0; place < size; place++) {
        dashes += at[place] == '-';
        letters += at[place] > '9';
    }
    if (!dashes)
        return size && (!letters || size >= 16);
    return size == 36 && dashes == 4 && at[8] == '-' && at[13] == '-' && at[18] == '-' &&
           at[23] == '-';
}

/* Where the segment ends that begins at byte number `at`, and whether it may be an id. */
static int64_t end_of_segment(const View *view, const byte *path, int64_t at, bool *may_be)
{
    for (*may_be = true; at < view->size; at += LANES) {
        const int64_t left = view->size - at;
        Vector piece = piece_of(view, path, at);
        unsigned ends = bits((piece == '/') | (piece == '?')) | (left < LANES ? 1U << left : 0);
        unsigned inside = (ends - 1) & ~ends & 0xffff; /* all of them if it ends behind these */
        Vector letter = (piece | ' ') - 'a', digit = piece - '0';
        *may_be &= !(~bits((letter <= 5) | (digit <= 9) | (piece == '-')) & inside);
        if (ends)
            return at + __builtin_ctz(ends);
    }
    return view->size;
}

/* Copies a part of a text that has a view. */
static byte *put_part(byte *to, const View *view, const byte *text, int64_t from, int64_t stop)
{
    for (int64_t at = from; at < stop; at += LANES)
        store(to + at - from, piece_of(view, text, at));
    return to + stop - from;
}

/* Returns how many bytes are before the query. They are in `made` only if one segment is an id. */
static int64_t mask(const View *view, const byte *path, byte **made)
{
    const int64_t size = view->size;
    int64_t at = 0, copied = 0;
    bool may_be;

    while (at < size && path[at] != '/' && path[at] != '?')
        at++;
    while (at < size && path[at] == '/') {
        const int64_t begin = at + 1;
        at = end_of_segment(view, path, begin, &may_be);
        if (may_be && is_id(path + begin, at - begin)) {
            *made = put(put_part(*made, view, path, copied, begin), (const byte *)":id", 3);
            copied = at;
        }
    }
    if (copied)
        *made = put_part(*made, view, path, copied, at);
    return at;
}

/* The view of the first `size` bytes of a text that has a view. */
static View shortened(const View *view, const byte *text, int64_t size)
{
    View made = *view;

    made.size = (int32_t)size;
    if (size > (int64_t)sizeof made.here)
        return made;
    return view_here(piece_of(view, text, 0), size);
}

/*
 * Fills in each of `count` paths less its query, with `:id` in the place of every segment that is
 * an id. What is not in the paths as it is, is in `made`, which is buffer number `made_is` and has
 * room for twice the bytes of all paths, and 16 more.
 */
void logwax_mask_ids(const View *paths, const byte *const *buffers, int64_t count, View *masked,
                     byte *made, int32_t made_is)
{
    byte *to = made;

    for (int64_t row = 0; row < count; row++) {
        const View *view = &paths[row];
        expect(paths, row, count, buffers);
        const byte *path = bytes_of(view, buffers), *begin = to;
        int64_t size = mask(view, path, &to);
        masked[row] = to > begin ? view_of(begin, to - begin, made_is, made)
                                 : shortened(view, path, size);
    }
}
