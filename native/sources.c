/* What this was compiled from. */

#include "native.h"

#ifndef LOGWAX_SOURCES /* by setup.py */
#define LOGWAX_SOURCES 0
#endif

/* CRC-32 of all sources; 0 if it was not told. */
uint32_t logwax_sources(void)
{
    return LOGWAX_SOURCES;
}
