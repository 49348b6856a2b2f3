/*
 * Lines of a layout to columns: fields, and the literals behind them, as flows/parsing/layout.py
 * says. A field ends where its literal comes first, hence where its lazy regular expression ends
 * first; whatever does not fit then is left open.
 */

#include "native.h"

/* A text, in the lines or made of them. */
typedef struct {
    const byte *at, *end, *base;
    int32_t buffer;
} Text;

static inline bool is_here(const Literal *literal, const byte *at, const byte *end)
{
    uint64_t found;

    memcpy(&found, at, sizeof found); /* behind a line 16 bytes may be read */
    return !((found ^ literal->word) & literal->mask) && end - at >= literal->size &&
           (literal->size <= 8 || !memcmp(at, literal->text, literal->size));
}

static inline bool is(Text text, const Literal *literal)
{
    return text.end - text.at == literal->size && is_here(literal, text.at, text.end);
}

/* Where the byte comes first; NULL if nowhere. Most words are short. */
static inline const byte *find(const byte *at, const byte *end, byte which)
{
#ifdef __SSE2__
    for (; at < end; at += LANES) {
        unsigned found = bits(_mm_cmpeq_epi8(load(at), all(which)));
        if (found) {
            at += __builtin_ctz(found);
            return at < end ? at : NULL;
        }
    }
    return NULL;
#else
    return memchr(at, which, end - at);
#endif
}

static bool has(Text text, byte which)
{
#ifdef __SSE2__
    int64_t size = text.end - text.at;
    if (size <= LANES) { /* as most are */
        unsigned found = size ? bits(_mm_cmpeq_epi8(load(text.at), all(which))) : 0;
        return found << (LANES - size) & 0xffff;
    }
#endif
    return memchr(text.at, which, text.end - text.at);
}

static bool is_digit(byte found)
{
    return found >= '0' && found <= '9';
}

/* Where a text with escapes ends; NULL if it does not. */
static const byte *end_of_escaped(const byte *at, const byte *end)
{
    for (; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at : NULL;
}

/* Where a word ends, or several up to the literal; NULL if it does not end as usual. */
static inline const byte *end_of_words(const Step *step, const byte *at, const byte *end)
{
    const Literal *behind = &step->behind;
    const byte *begin = at;

    if (step->shape == TWO_WORDS) {
        at = find(at, end, ' ');
        if (!at || at++ == begin)
            return NULL;
        begin = at;
    }
    if (!behind->size) {
        const byte *space = step->shape == WORDS ? NULL : find(at, end, ' ');
        at = space ? space : end;
    } else {
        const byte which = *behind->text, *first = at = find(at, end, which);
        while (at && behind->size > 1 && !is_here(behind, at, end))
            at = find(at + 1, end, which);
        if (!at)
            return NULL;
        if (step->shape != WORDS &&
            (which == ' ' ? at > first : has((Text){begin, at, NULL, IN_LINES}, ' ')))
            return NULL;
    }
    if (step->shape == DIGITS)
        for (const byte *digit = begin; digit < at; digit++)
            if (!is_digit(*digit))
                return NULL;
    return step->shape != WORDS && at == begin ? NULL : at;
}

static int hexadecimal(byte digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* Undoes the escapes of Apache and nginx; false if one is not as usual. */
static bool unescape(Reading *reading, Text *text)
{
    static const char NAMES[] = "\"\\ntrbv", MEANT[] = "\"\\\n\t\r\b\v";
    Made *made = &reading->texts;
    byte *begin = made->data + made->size, *to = begin;

    for (const byte *at = text->at; at < text->end; at++) {
        *to++ = *at;
        if (*at != '\\')
            continue;
        if (!*++at)
            return false;
        const char *name = strchr(NAMES, *at);
        if (name) {
            to[-1] = (byte)MEANT[name - NAMES];
        } else if (*at == 'x' && text->end - at > 2) {
            int high = hexadecimal(at[1]), low = hexadecimal(at[2]);
            if (high < 0 || low < 0 || high > 7) /* more is a part of a character, or of none */
                return false;
            to[-1] = (byte)(high << 4 | low);
            at += 2;
        } else {
            return false;
        }
    }
    made->size = to - made->data;
    *text = (Text){begin, to, made->data, made->buffer};
    return true;
}

/* Undoes the escapes of JSON; false if one is not as usual. */
static bool unescape_json(Reading *reading, Text *text)
{
    Made *made = &reading->texts;
    int64_t begin = made->size;

    if (!append_text(made, text->at, text->end + 1, false)) /* up to its quote */
        return false;
    *text = (Text){made->data + begin, made->data + made->size, made->data, made->buffer};
    return true;
}

static void put_text(const Reading *reading, int64_t key, int64_t line, Text text)
{
    ((View *)reading->keys[key].out)[line] =
        view_of(text.at, text.end - text.at, text.buffer, text.base);
}

/* `"name":"text",`, of which the key's name is what is before the text. */
static bool append_attribute(Made *made, const Key *key, Text text)
{
    append(made, key->name, key->size);
    for (;; text.at++) {
        const byte *stop = end_of_plain(text.at, text.end, '"');
        append(made, text.at, stop - text.at);
        text.at = stop;
        if (stop == text.end)
            break;
        if (*stop < ' ')
            return false;
        byte escaped[] = {'\\', *stop};
        append(made, escaped, sizeof escaped);
    }
    append(made, "\",", 2);
    return true;
}

/* Whether the text ends with ` HTTP/1.1` or ` HTTP/2`; `protocol` is where the space is. */
static bool find_protocol(Text text, const byte **protocol)
{
    int64_t size = text.end - text.at;

    if (size >= 9 && text.end[-2] == '.' && is_digit(text.end[-1]) && is_digit(text.end[-3]))
        *protocol = text.end - 9;
    else if (size >= 7 && is_digit(text.end[-1]))
        *protocol = text.end - 7;
    else
        return false;
    return !memcmp(*protocol, " HTTP/", 6);
}

/* `method path protocol`: of three keys. */
static bool put_request(Reading *reading, int64_t key, int64_t line, Text request)
{
    const byte *protocol, *at = request.at;
    Text method = request, path = request, rest = request;

    if (!find_protocol(request, &protocol))
        return false;
    while (at < protocol && *at >= 'A' && *at <= 'Z')
        at++;
    method.end = at;
    path.at = at + 1;
    path.end = protocol;
    rest.at = protocol + 1;
    if (at == request.at || path.at >= path.end || *at != ' ' || *path.at == ' ' ||
        path.end[-1] == ' ')
        return false;
    put_text(reading, key, line, method);
    put_text(reading, key + 1, line, path);
    return append_attribute(&reading->objects, &reading->keys[key + 2], rest);
}

/* A time as Apache writes it is mostly the one of the line before. */
static bool read_clf_again(Reading *reading, Text text, int64_t *micros)
{
    enum { SIZE = 26, HALF = 13 };
    const byte *last = reading->last_time;

    if (text.end - text.at != SIZE)
        return false;
    /* The seconds differ most often, and are in the second half. */
    if (!last || !is_same(last + HALF, text.at + HALF, HALF) || !is_same(last, text.at, HALF)) {
        if (!read_clf(text.at, text.end, micros))
            return false;
        reading->last_time = text.at;
        reading->last_micros = *micros;
    }
    *micros = reading->last_micros;
    return true;
}

static bool put_moment(Reading *reading, const Step *step, int64_t line, Text text)
{
    int64_t micros;
    bool is_zoned = true;
    Number number;

    switch (step->meaning) {
    case CLF:
        if (!read_clf_again(reading, text, &micros))
            return false;
        break;
    case HAPROXY:
        is_zoned = false;
        if (!read_haproxy(text.at, text.end, &micros))
            return false;
        break;
    case EPOCH:
        if (read_number(text.at, text.end, &number) != text.end ||
            !micros_since_1970(&number, &micros))
            return false;
        break;
    default:
        if (!read_iso(text.at, text.end, &micros, &is_zoned))
            return false;
    }
    return put_time(reading, &reading->keys[step->key], line, micros, is_zoned);
}

static bool put_status(const Key *key, int64_t line, Text text)
{
    int status;

    if (text.end - text.at != 3 || !read_digits(text.at, 3, &status) || status < 100 ||
        status > 599)
        return false;
    ((uint16_t *)key->out)[line] = (uint16_t)status;
    return true;
}

static bool put_count(const Key *key, int64_t line, Text text)
{
    uint64_t count = 0;

    if (text.end - text.at > 20)
        return false;
    for (; text.at < text.end; text.at++) {
        unsigned digit = *text.at - '0';
        if (digit > 9 || count > (UINT64_MAX - digit) / 10)
            return false;
        count = count * 10 + digit;
    }
    ((uint64_t *)key->out)[line] = count;
    return true;
}

/* A number as programs write what is small, such as 1e-05. */
static bool read_small(Text text, Number *number)
{
    const byte *e = memchr(text.at, 'e', text.end - text.at);
    int exponent;

    if (!e || text.end - e < 3 || text.end - e > 4 || e[1] != '-' ||
        !read_digits(e + 2, (int)(text.end - e - 2), &exponent) ||
        read_number(text.at, e, number) != e)
        return false;
    number->decimals += exponent;
    return true;
}

static bool put_seconds(const Key *key, int64_t line, Text text)
{
    Number number;

    if (read_number(text.at, text.end, &number) == text.end || read_small(text, &number))
        return put_number(key, line, &number);
    return !key->shift && put_duration(key, line, text.at, text.end);
}

/* Whether one space is between all words, and none around them. */
static bool is_evenly_spaced(Text text)
{
    if (text.at == text.end || *text.at == ' ' || text.end[-1] == ' ')
        return false;
    for (; (text.at = memchr(text.at, ' ', text.end - text.at)); text.at++)
        if (text.at[1] == ' ')
            return false;
    return true;
}

/* Whether the field is nothing that the definition has to look at. */
static bool is_usual(const Step *step, Text text)
{
    for (int64_t which = 0; which < step->odd.size; which++)
        if (has(text, step->odd.text[which]))
            return false;
    if (step->is_even && !is_evenly_spaced(text))
        return false;
    return !step->is_choice || is(text, &step->words[0]) || is(text, &step->words[1]);
}

static inline bool put_field(Reading *reading, const Step *step, int64_t line, Text text)
{
    const Key *key = &reading->keys[step->key];

    switch (key->kind) {
    case TIME:
        return put_moment(reading, step, line, text);
    case SMALL:
        return is_no_number(text.at, text.end) || put_status(key, line, text);
    case LARGE:
        return is_no_number(text.at, text.end) || put_count(key, line, text);
    case SECONDS:
        return is_no_number(text.at, text.end) || put_seconds(key, line, text);
    }
    if (step->meaning == REQUEST)
        return put_request(reading, step->key, line, text);
    if (text.end - text.at <= 2 && !step->is_choice &&
        (is(text, &step->words[0]) || is(text, &step->words[1])))
        text.end = text.at;
    if (key->kind == ATTRIBUTE)
        return text.at == text.end || append_attribute(&reading->objects, key, text);
    put_text(reading, step->key, line, text);
    return true;
}

static bool read_steps(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    int has_escapes = -1; /* nobody has looked yet */

    for (const Step *step = reading->steps, *last = step + reading->step_count; step < last;
         step++) {
        const byte *stop = NULL, *begin = at + step->before.size;
        bool is_escaped = false;
        if (step->before.size && !is_here(&step->before, at, end)) {
            /* There is no such field. */
        } else if (step->shape == ESCAPED) {
            if (has_escapes < 0)
                has_escapes = memchr(begin, '\\', end - begin) != NULL;
            stop = memchr(begin, '"', end - begin);
            is_escaped = has_escapes && stop && memchr(begin, '\\', stop - begin);
            if (is_escaped)
                stop = end_of_escaped(begin, end);
            if (stop && !is_here(&step->behind, stop, end))
                stop = NULL;
        } else {
            stop = end_of_words(step, begin, end);
        }
        if (!stop) {
            if (!step->is_optional)
                return false;
            continue;
        }
        at = stop + step->behind.size;
        Text text = {begin, stop, reading->lines, IN_LINES};
        if (step->usual.text) {
            if (!is(text, &step->usual))
                return false;
            continue;
        }
        if (step->is_watched && !is_usual(step, text))
            return false;
        if (is_escaped &&
            !(step->is_json ? unescape_json(reading, &text) : unescape(reading, &text)))
            return false;
        if (!put_field(reading, step, line, text))
            return false;
    }
    return at == end;
}

bool read_layout(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    int64_t object = begin_object(reading);
    bool is_read = read_steps(reading, line, at, end);
    end_object(reading, line, object);
    return is_read;
}
