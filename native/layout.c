/*
 * Lines of layouts to columns: fields, and the literals around them, as flows/parsing/layout.py
 * says. First a line is taken apart as the regular expression of its layout does it: a field ends
 * where something that may be behind it comes first; if the rest does not fit, where it comes next.
 * Then the values of its fields are read; of nearly all lines of a single layout, at once.
 */

#include <math.h>

#include "native.h"

/* A field, and where it is: in the lines, or in texts made of them. */
typedef struct {
    const byte *at, *end;
    const Made *in;
} Text;

static bool is_one_of(const Literal *two, const byte *at, const byte *end)
{
    return (end - at == two[0].size && is_here(&two[0], at, end)) ||
           (end - at == two[1].size && is_here(&two[1], at, end));
}

static bool is_digit(byte found)
{
    return found >= '0' && found <= '9';
}

/* Where a text with escapes ends, and whether it has any; NULL if it does not end. */
static inline const byte *end_of_escaped(const byte *at, const byte *end, bool *has_escapes)
{
    for (; (at = find(at, end, '"', '\\', 0)) && *at == '\\'; at += 2)
        *has_escapes = true;
    return at;
}

/* Whether the field may end here. */
static inline bool may_end(const Step *step, const byte *at, const byte *end)
{
    if (step->is_byte)
        return at < end && *at == step->until[0];
    for (const Literal *literal = step->ends; literal < step->ends + step->end_count; literal++)
        if (is_here(literal, at, end))
            return true;
    return step->may_be_last && at == end;
}

/* Where a field of a fixed width ends; NULL if its characters are others, or odd. */
static const byte *end_of_width(const Step *step, const byte *begin, const byte *end, bool *is_odd)
{
    const byte *stop = begin + step->width;

    if (stop > end)
        stop = end;
    for (const byte *at = begin; at < stop; at++)
        if (*at >= 0x80) { /* a part of a character */
            *is_odd = true;
            return NULL;
        }
    for (const byte *at = begin; at < stop; at++)
        if (step->shape == DIGITS ? !is_digit(*at) : step->shape == WORD && *at == ' ')
            return NULL;
    return stop == begin + step->width ? stop : NULL;
}

/* Where a field of words ends next, from here on; NULL if nowhere. */
static inline const byte *next_end(const Step *step, const byte *from, const byte *end)
{
    const byte *stop;

    if (!step->end_count)
        return step->shape == WORDS || !find(from, end, ' ', ' ', 0) ? end : NULL;
    if (step->is_byte) {
        stop = find(from, end, step->until[0], step->until[0], 0);
        bool is_any = !stop || step->shape == WORDS || step->until[0] == ' ';
        return is_any || !find(from, stop, ' ', ' ', 0) ? stop : NULL;
    }
    for (; (stop = find(from, end, step->until[0], step->until[1], step->least)); from = stop + 1) {
        if (may_end(step, stop, end))
            return stop;
        if (*stop == ' ' && step->shape < WORDS)
            return NULL;
    }
    return step->may_be_last ? end : NULL;
}

/* Where the field that begins here ends first; NULL if it has no end. */
static inline const byte *end_of_field(const Step *step, const byte *begin, const byte *end,
                                       bool *has_escapes)
{
    const byte *stop = begin;

    if (step->shape == ESCAPED) {
        stop = end_of_escaped(begin, end, has_escapes);
        stop = stop || step->end_count ? stop : end;
        return stop && may_end(step, stop, end) ? stop : NULL;
    }
    if (step->shape == DIGITS) {
        while (stop < end && is_digit(*stop))
            stop++;
        return stop > begin && may_end(step, stop, end) ? stop : NULL;
    }
    if (step->shape == TWO_WORDS) {
        stop = find(begin, end, ' ', ' ', 0);
        stop = stop && stop > begin ? stop + 1 : end;
    }
    if (step->shape < WORDS) {
        if (stop >= end || *stop == ' ')
            return NULL;
        stop++;
    }
    return next_end(step, stop, end);
}

static bool unescape(Reading *reading, const Step *step, Text *text)
{
    Made *made = &reading->texts;
    int64_t begin = made->size;

    if (!append_text(made, text->at, text->end + 1, step->is_json, false)) /* up to its quote */
        return false;
    *text = (Text){made->data + begin, made->data + made->size, made};
    return true;
}

/* Makes one quote of two. */
static void halve_quotes(Reading *reading, Text *text)
{
    Made *made = &reading->texts;
    int64_t begin = made->size;
    const byte *quote;

    for (const byte *at = text->at; at < text->end; at = quote + 2) {
        quote = find(at, text->end, '"', '"', 0);
        append(made, at, (quote ? quote + 1 : text->end) - at);
        if (!quote)
            break;
    }
    *text = (Text){made->data + begin, made->data + made->size, made};
}

/* Whether the text ends with ` HTTP/1.1` or ` HTTP/2`; `protocol` is where the space is. */
static bool find_protocol(const byte *at, const byte *end, const byte **protocol)
{
    int64_t size = end - at;

    if (size >= 9 && end[-2] == '.' && is_digit(end[-1]) && is_digit(end[-3]))
        *protocol = end - 9;
    else if (size >= 7 && is_digit(end[-1]))
        *protocol = end - 7;
    else
        return false;
    return !memcmp(*protocol, " HTTP/", 6);
}

/* A part of a text as the value of a key. */
static inline void put_part(const Key *key, int64_t line, const Text *text, const byte *at,
                            const byte *end)
{
    ((View *)key->out)[line] = view_of(at, end - at, text->in->buffer, text->in->data);
}

/* A request line without a protocol: of HTTP/0.9, or kept whole as the last of four keys. */
static bool put_other_request(Reading *reading, const Step *step, int64_t line, const Text *request)
{
    const Key *key = &reading->keys[step->key];
    const byte *at = request->at, *end = request->end, *path;

    if (at == end || (end - at == 1 && *at == '-') || is_one_of(step->words, at, end))
        return request->in == &reading->lines; /* with escapes it is not nothing */
    while (at < end && *at >= 'A' && *at <= 'Z')
        at++;
    path = at + 1;
    if (at == request->at || path >= end || *at != ' ' || find(path, end, ' ', ' ', 0))
        return append_member(reading, key + 3, request->at, end);
    put_part(key, line, request, request->at, at);
    put_part(key + 1, line, request, path, end);
    return true;
}

/* `method path protocol`: of three keys. */
static bool put_parts(Reading *reading, const Key *key, int64_t line, const Text *request,
                      const byte *protocol)
{
    const byte *at = request->at, *end = request->end;

    while (at < protocol && *at >= 'A' && *at <= 'Z')
        at++;
    const byte *path = at + 1;
    if (at == request->at || path >= protocol || *at != ' ' || *path == ' ' || protocol[-1] == ' ')
        return false;
    put_part(key, line, request, request->at, at);
    put_part(key + 1, line, request, path, protocol);
    return append_member(reading, key + 2, protocol + 1, end);
}

bool put_asked(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end)
{
    const Text request = {at, end, &reading->lines};
    const byte *protocol, *space = find(at, end, ' ', ' ', 0);

    if (!space || !find_protocol(at, end, &protocol) || find(space + 1, protocol, ' ', ' ', 0))
        return false;
    reading->seen |= 7ULL << key->first;
    return put_parts(reading, reading->keys + key->first, line, &request, protocol);
}

static bool put_request(Reading *reading, const Step *step, int64_t line, const Text *request)
{
    const byte *protocol;

    if (!find_protocol(request->at, request->end, &protocol))
        return put_other_request(reading, step, line, request);
    return put_parts(reading, &reading->keys[step->key], line, request, protocol);
}

/* Whether one space is between all words, and none around them. */
static bool is_evenly_spaced(const byte *at, const byte *end)
{
    if (at == end || *at == ' ' || end[-1] == ' ')
        return false;
    for (; (at = memchr(at, ' ', end - at)); at++)
        if (at[1] == ' ')
            return false;
    return true;
}

/* Whether the field is nothing that the definition has to look at. */
static bool is_usual(const Step *step, const byte *at, const byte *end)
{
    if (find(at, end, step->odd[0], step->odd[1], 0))
        return false;
    return !step->is_even || is_evenly_spaced(at, end);
}

/* Looks at more of the field than where it ends: false if the definition has to. */
static bool watch(Reading *reading, const Step *step, Text *text)
{
    return is_usual(step, text->at, text->end) &&
           (!step->rest ||
            put_rest(reading, step->rest, &reading->keys[step->key + 1], text->at, &text->end));
}

/* Whether the field is one of those that it can be. */
static bool is_chosen(const Step *step, const Key *key, const byte *at, const byte *end)
{
    return key->word_count ? meaning_of(key, at, end) != NULL : is_one_of(step->words, at, end);
}

static inline bool put_field(Reading *reading, const Step *step, int64_t line, Text *text)
{
    static ReadTime *const TIMES[] = {[ISO] = read_iso, [EPOCH] = read_epoch};
    const Key *key = &reading->keys[step->key];

    if (key->kind == TIME)
        return put_moment(reading, key, line, text->at, text->end, TIMES[step->meaning]);
    if (step->meaning == REQUEST)
        return put_request(reading, step, line, text);
    if (text->end - text->at <= step->longest_empty && is_one_of(step->words, text->at, text->end))
        text->end = text->at;
    if (key->kind != TEXT && key->kind != ATTRIBUTE)
        return put_amount(key, line, text->at, text->end);
    const View *meaning = key->word_count ? meaning_of(key, text->at, text->end) : NULL;
    if (meaning)
        *text = (Text){meaning->here, meaning->here + meaning->size, &reading->lines};
    if (key->kind == ATTRIBUTE)
        return text->at == text->end || append_member(reading, key, text->at, text->end);
    put_part(key, line, text, text->at, text->end);
    return true;
}

/* Whether a digit, or what else a time may consist of, may go on with it here. */
static bool goes_on(const Step *step, const byte *at, const byte *end)
{
    at += step->has_zone && end - at > 1 && *at == ' ';
    return at < end && ((*at >= '+' && *at <= ':') /* +,-./0-9: */
                        || (step->has_zone && (*at | ' ') - 'a' < 26u));
}

/* Reads a time that ends by itself, which often is the one of the line before. */
static inline const byte *end_of_time(Reading *reading, const Step *step, const byte *at,
                                      const byte *end, bool *is_none)
{
    const int64_t size = reading->time_size;
    const byte *stop = at + size;

    if (!size || reading->codes != step->codes || end - at < size || goes_on(step, stop, end) ||
        !is_same(at, reading->time, size)) {
        stop = read_coded(reading, step->codes, at, end, is_none);
        if (!stop)
            return NULL;
        reading->codes = step->codes;
        reading->time = at;
        reading->time_size = stop - at;
    }
    return stop;
}

/*
 * Where something else ends than a field that ends by what is behind it; NULL if it is not here,
 * unless `is_odd` leaves the line open.
 */
static __attribute__((noinline)) const byte *end_of_other(Reading *reading, const Step *step,
                                                          const byte *begin, const byte *end,
                                                          bool *is_odd)
{
    const byte *stop = begin;
    bool is_none = false;

    if (step->width)
        return end_of_width(step, begin, end, is_odd);
    if (step->shape == LITERAL)
        return begin;
    if (step->shape == SPACES) {
        while (stop < end && *stop == ' ')
            stop++;
        return stop > begin ? stop : NULL;
    }
    stop = end_of_time(reading, step, begin, end, &is_none);
    if (stop && step->odd[0] && !is_usual(step, begin, stop)) {
        *is_odd = true;
        return NULL;
    }
    if (step->shape != MOMENT && stop && !may_end(step, stop, end))
        stop = NULL;
    *is_odd = !stop && (step->shape != MOMENT || !is_none);
    return stop;
}

/*
 * Where a cell ends in whose quotes a quote is doubled (RFC 4180); NULL if the line ends with it, or
 * if it is odd.
 */
static const byte *end_of_cell(const Step *step, const byte *at, const byte *end, bool *has_escapes,
                               bool *is_odd)
{
    for (at++; (at = find(at, end, '"', '"', 0)) && end - at > 1 && at[1] == '"'; at += 2)
        *has_escapes = true;
    if (at && may_end(step, at + 1, end))
        return at + 1;
    *is_odd = !at || at + 1 < end;
    return NULL;
}

/* Where a part ends that is here; NULL if it is not, unless `is_odd` leaves the line open. */
static inline const byte *end_of_part(Reading *reading, const Step *step, const byte *at,
                                      const byte *end, Span *span, bool *is_odd)
{
    const byte *begin = at + step->before.size, *stop;

    if (step->before.size && !is_here(&step->before, at, end))
        return NULL;
    span->at = begin;
    span->has_escapes = false;
    if (!step->is_found)
        return end_of_other(reading, step, begin, end, is_odd);
    if (step->is_cell && begin < end && *begin == '"')
        return end_of_cell(step, begin, end, &span->has_escapes, is_odd);
    stop = end_of_field(step, begin, end, &span->has_escapes);
    if (stop && step->is_choice && !is_chosen(step, &reading->keys[step->key], begin, stop)) {
        *is_odd = !step->is_fixed;
        return NULL;
    }
    return stop;
}

/* How a line fits a layout: only the definition knows; it is of no such layout; it is of it. */
typedef enum { UNKNOWN, NEVER, SURELY } Fit;

/* Whether all lines have what is before this part. */
static bool is_needed(const Path *path, const Step *step)
{
    const Step *at = path->steps;

    while (at < step)
        at += at->together ? at->together : 1;
    return at == step && step->before.size && !step->together;
}

/* Where the text before this part, without which no line is, is last; the end if nobody knows. */
static const byte *last_place(const Path *path, const Step *step, const byte *begin,
                              const byte *end)
{
    const byte *at = end;

    if (step == path->steps + path->count || !is_needed(path, step))
        return end;
    while (at >= begin && !is_here(&step->before, at, end))
        at--;
    return at;
}

/*
 * The next way to take a line apart, before this part: a field that may end later, or parts that
 * may be left out. Moves `step` and `at` behind it. No way begins behind `limit`.
 */
static __attribute__((noinline)) Fit go_back(const Path *path, Span *spans, const Step **step,
                                             const byte **at, const byte *end, const byte *limit)
{
    while ((*step)-- > path->steps) {
        const Step *last = *step;
        Span *span = &spans[last - path->steps];
        if (!span->at || span->at - last->before.size > limit)
            continue;
        if (!last->is_fixed) {
            const byte *stop = NULL;
            if (last->shape == SPACES)
                stop = span->end - 1 > span->at ? span->end - 1 : NULL;
            else if (last->is_guess || !last->is_found || last->is_choice || last->shape == ESCAPED)
                return UNKNOWN;
            else if (span->end < end && (*span->end != ' ' || last->shape == WORDS))
                stop = next_end(last, span->end + 1, end);
            if (stop) {
                span->end = stop;
                *at = stop + last->behind;
                *step += 1;
                return SURELY;
            }
        }
        if (last->together) {
            *at = span->at - last->before.size;
            for (int64_t left = 0; left < last->together; left++)
                span[left].at = NULL;
            *step += last->together;
            return SURELY;
        }
    }
    return NEVER;
}

/*
 * Takes a line apart: where each part is, NULL of those that are left out. `tried` says how many
 * steps were.
 */
static __attribute__((noinline)) Fit take_apart(Reading *reading, const Path *path, const byte *at,
                                                const byte *end, int64_t *tried)
{
    enum { FEW_WAYS = 4, MOST_WAYS = 100 };
    const byte *begin = at;
    const Step *step = path->steps, *last = step + path->count;
    Span *spans = reading->spans;

    *tried = 0;
    for (int ways = 0;;) {
        bool is_odd = false;
        if (*tried <= step - path->steps)
            *tried = step - path->steps + 1;
        if (step == last && at == end)
            return SURELY;
        Span *span = &spans[step - path->steps];
        const byte *stop = step < last ? end_of_part(reading, step, at, end, span, &is_odd) : NULL;
        if (is_odd)
            return UNKNOWN;
        if (stop) {
            span->end = stop;
            at = stop + step->behind;
            step++;
            continue;
        }
        if (step < last && step->is_guess)
            return UNKNOWN;
        if (step < last && step->together) {
            for (int64_t left = 0; left < step->together; left++)
                span[left].at = NULL;
            step += step->together;
            continue;
        }
        if (ways++ == MOST_WAYS)
            return UNKNOWN;
        const byte *limit = ways > FEW_WAYS ? last_place(path, step, begin, end) : end;
        Fit fit = go_back(path, spans, &step, &at, end, limit);
        if (fit != SURELY)
            return fit;
    }
}

/* Reads the value of a part, if it has one; false if it is not as usual. */
__attribute__((always_inline)) static inline bool put_value(Reading *reading, const Step *step,
                                                            int64_t line, const Span *span)
{
    if (!step->is_found && !step->width) {
        if (step->shape != LITERAL && step->shape != SPACES)
            put_time(reading, &reading->keys[step->key], line, reading->micros, reading->is_zoned);
        return true;
    }
    Text text = {span->at, span->end, &reading->lines};
    if (step->is_cell && text.at < text.end && *text.at == '"') {
        text.at++;
        text.end--;
        if (span->has_escapes)
            halve_quotes(reading, &text);
    } else if ((step->is_watched && !watch(reading, step, &text)) ||
               (span->has_escapes && !unescape(reading, step, &text))) {
        return false;
    }
    return put_field(reading, step, line, &text);
}

/* Reads a line, as nearly all are, whose fields end where they may end first. */
static inline bool read_straight(Reading *reading, const Path *path, int64_t line, const byte *at,
                                 const byte *end)
{
    const Step *last = path->steps + path->count;

    for (const Step *step = path->steps; step < last; step++) {
        bool is_odd = false;
        Span span;
        span.end = end_of_part(reading, step, at, end, &span, &is_odd);
        if (span.end) {
            at = span.end + step->behind;
            if (!put_value(reading, step, line, &span))
                return false;
            continue;
        }
        if (is_odd || step->is_guess || !step->together)
            return false;
        step += step->together - 1;
    }
    return at == end;
}

/* Makes the columns of a line as they were before it was read: of seconds NaN is none. */
static void forget(Reading *reading, int64_t line)
{
    static const int64_t SIZES[] = {[TEXT] = sizeof(View), [TIME] = sizeof(int64_t),
                                    [STATUS] = sizeof(uint16_t), [SMALL] = sizeof(uint16_t),
                                    [LARGE] = sizeof(uint64_t), [ATTRIBUTE] = 0};
    reading->objects.size = reading->object;
    reading->has_time = reading->timeless;
    for (const Key *key = reading->keys; key < reading->keys + reading->key_count; key++)
        if (key->out && key->kind == SECONDS)
            ((double *)key->out)[line] = NAN;
        else if (key->out)
            memset((byte *)key->out + line * SIZES[key->kind], 0, SIZES[key->kind]);
}

/* Reads a line of the first layout that fits, most lines of that of the last one, at once. */
bool read_layout(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const Path *path = reading->paths, *stop = path + reading->path_count;
    const int64_t texts = reading->texts.size;
    int64_t tried = INT64_MAX; /* so many steps of the layout before, which does not fit */

    for (; path < stop; path++) {
        if (tried <= path->shared)
            continue;
        if (path == reading->paths + reading->usual) {
            if (read_straight(reading, path, line, at, end))
                return true;
            reading->texts.size = texts;
            forget(reading, line);
        }
        Fit fit = take_apart(reading, path, at, end, &tried);
        if (fit == SURELY)
            break;
        if (fit == UNKNOWN)
            return false;
    }
    if (path == stop)
        return false;
    reading->usual = path - reading->paths;
    const Span *span = reading->spans;
    for (const Step *step = path->steps; step < path->steps + path->count; step++, span++)
        if (span->at && !put_value(reading, step, line, span))
            return false;
    return true;
}
