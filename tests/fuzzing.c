/* The mutator of libFuzzer, which takes none but a function of this name: see fuzzing.py. */

#include <stddef.h>
#include <stdint.h>

typedef size_t Mutate(uint8_t *data, size_t size, size_t room, unsigned seed);

Mutate *mutate;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    return mutate(data, size, room, seed);
}
