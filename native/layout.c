/*
 * Lines of a layout to columns: fields, and the literals around them, as flows/parsing/layout.py
 * says. A field ends where something that may be behind it comes first, hence where its lazy
 * regular expression ends first; whatever does not fit then is left open.
 */

#include "native.h"

/* A field, and where it is: in the lines, or in texts made of them. */
typedef struct {
    const byte *at, *end;
    const Made *in;
} Text;

static inline bool is_here(const Literal *literal, const byte *at, const byte *end)
{
    return !((word_at(at) ^ literal->word) & literal->mask) && end - at >= literal->size &&
           (literal->size <= 8 || !memcmp(at, literal->text, literal->size));
}

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

/* Where a field of a fixed width ends; NULL if its characters are others. */
static const byte *end_of_width(const Step *step, const byte *begin, const byte *end, bool *is_odd)
{
    const byte *stop = begin + step->width;

    if (stop > end)
        stop = end;
    for (const byte *at = begin; at < stop; at++)
        if (*at >= 0x80) /* a part of a character */
            *is_odd = true;
    for (const byte *at = begin; at < stop; at++)
        if (step->shape == DIGITS ? !is_digit(*at) : step->shape == WORD && *at == ' ')
            return NULL;
    return stop == begin + step->width ? stop : NULL;
}

/* Where the field ends that begins here; NULL if there is none. */
static inline const byte *end_of_field(const Step *step, const byte *begin, const byte *end,
                                       bool *has_escapes)
{
    const byte *from = begin, *stop;

    if (step->shape == ESCAPED) {
        stop = end_of_escaped(begin, end, has_escapes);
        stop = stop || step->end_count ? stop : end;
        return stop && may_end(step, stop, end) ? stop : NULL;
    }
    if (step->shape == DIGITS) {
        for (stop = begin; stop < end && is_digit(*stop); stop++)
            ;
        return stop > begin && may_end(step, stop, end) ? stop : NULL;
    }
    if (step->shape == TWO_WORDS) {
        from = find(from, end, ' ', ' ', 0);
        from = from && from > begin ? from + 1 : end;
    }
    if (step->shape < WORDS) {
        if (from >= end || *from == ' ')
            return NULL;
        from++;
    } else if (!step->end_count) {
        return end;
    }
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

static bool unescape(Reading *reading, const Step *step, Text *text)
{
    Made *made = &reading->texts;
    int64_t begin = made->size;

    if (!append_text(made, text->at, text->end + 1, step->is_json, false)) /* up to its quote */
        return false;
    *text = (Text){made->data + begin, made->data + made->size, made};
    return true;
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

/* `method path protocol`: of three keys. */
static bool put_request(Reading *reading, const Key *key, int64_t line, const Text *request)
{
    const byte *protocol, *at = request->at, *end = request->end;

    if (!find_protocol(at, end, &protocol))
        return false;
    while (at < protocol && *at >= 'A' && *at <= 'Z')
        at++;
    const byte *path = at + 1;
    if (at == request->at || path >= protocol || *at != ' ' || *path == ' ' || protocol[-1] == ' ')
        return false;
    put_part(key, line, request, request->at, at);
    put_part(key + 1, line, request, path, protocol);
    return append_member(reading, key + 2, protocol + 1, end);
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
    if (key->kind != TEXT && key->kind != ATTRIBUTE)
        return put_amount(key, line, text->at, text->end);
    if (step->meaning == REQUEST)
        return put_request(reading, key, line, text);
    if (text->end - text->at <= step->longest_empty && is_one_of(step->words, text->at, text->end))
        text->end = text->at;
    const View *meaning = key->word_count ? meaning_of(key, text->at, text->end) : NULL;
    if (meaning)
        *text = (Text){meaning->here, meaning->here + meaning->size, &reading->lines};
    if (key->kind == ATTRIBUTE)
        return text->at == text->end || append_member(reading, key, text->at, text->end);
    put_part(key, line, text, text->at, text->end);
    return true;
}

/* Whether a digit, or what else a time may consist of, may go on with it here. */
static bool goes_on(const byte *at, const byte *end)
{
    at += end - at > 1 && *at == ' ';
    return at < end && (is_digit(*at) || strchr(".,:/+-", *at) || (*at | ' ') - 'a' < 26u);
}

/* Reads a time that ends by itself, which often is the one of the line before. */
static inline const byte *put_pattern(Reading *reading, const Step *step, int64_t line,
                                      const byte *at, const byte *end, bool *is_none)
{
    const int64_t size = reading->time_size;
    const byte *stop = at + size;

    if (!size || end - at < size || goes_on(stop, end) ||
        !is_same(at, reading->time, size)) {
        uint64_t zone = 0;
        reading->time_size = 0;
        stop = read_pattern(step->codes, at, end, &reading->micros, &reading->is_zoned, is_none,
                            &zone);
        if (!stop || (zone && reading->zone && zone != reading->zone))
            return NULL;
        reading->zone |= zone;
        reading->time = at;
        reading->time_size = stop - at;
    }
    bool is_put =
        put_time(reading, &reading->keys[step->key], line, reading->micros, reading->is_zoned);
    return is_put ? stop : NULL;
}

/*
 * Where something else ends than a field that ends by what is behind it; NULL if it is not here,
 * unless `is_odd` leaves the line open. Puts a time into its column.
 */
static __attribute__((noinline)) const byte *end_of_other(Reading *reading, const Step *step,
                                                          int64_t line, const byte *begin,
                                                          const byte *end, bool *is_odd)
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
    stop = put_pattern(reading, step, line, begin, end, &is_none);
    if (step->shape != MOMENT && stop && !may_end(step, stop, end))
        stop = NULL;
    *is_odd = !stop && (step->shape != MOMENT || !is_none);
    return stop;
}

bool read_layout(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const Step *last = reading->steps + reading->step_count;
    bool is_sure = true; /* that there is no other way to read what was read */

    for (const Step *step = reading->steps; step < last; step++) {
        bool has_escapes = false;
        const byte *begin = at + step->before.size, *stop = NULL;
        if (!step->before.size || is_here(&step->before, at, end)) {
            bool is_odd = false;
            if (step->is_found)
                stop = end_of_field(step, begin, end, &has_escapes);
            else
                stop = end_of_other(reading, step, line, begin, end, &is_odd);
            if (is_odd)
                return false;
        }
        if (!stop && step->together && !step->is_guess) {
            step += step->together - 1;
            continue;
        }
        if (!stop) {
            reading->is_other = is_sure && !step->is_guess;
            return false;
        }
        if (step->is_choice && !is_chosen(step, &reading->keys[step->key], begin, stop)) {
            reading->is_other = is_sure && step->is_fixed && !step->together;
            return false;
        }
        is_sure &= step->is_fixed;
        if (step->is_found || step->width) {
            if (step->is_watched && !is_usual(step, begin, stop))
                return false;
            Text text = {begin, stop, &reading->lines};
            if (has_escapes && !unescape(reading, step, &text))
                return false;
            if (!put_field(reading, step, line, &text))
                return false;
        }
        at = stop + step->behind;
    }
    reading->is_other = is_sure && at != end;
    return at == end;
}
