/* A firmware that hears keywords: the compiled streaming model behind a microphone.
 * model.h comes from `tinymaix compile kws.toml --name model`. Give it microphone_read and call listen from your main. */
#include "model.h"

#define KEYWORDS 2   /* classes 0 and 1; class 2 is everything else */
#define THRESHOLD 52 /* of int8 scores from -128 to 127: 70 % */
#define HOLD 3       /* runs in a row */

/* Waits for the next MODEL_INPUT_SIZE samples of a microphone, 16,000 a second: what a DMA has filled meanwhile.
 * Returns 0 when there will be no more. */
int microphone_read(int16_t *samples, int count);

/* Called once for each keyword that is heard. */
void keyword_heard(int keyword);

void listen(void);
void listen(void)
{
    int last = -1, count = 0, said = -1;
    model_reset();
    while (microphone_read(MODEL_INPUT, MODEL_INPUT_SIZE)) {
        const int8_t *scores = MODEL_OUTPUT;
        int best = 0;
        model_run(MODEL_INPUT, MODEL_OUTPUT);
        for (int i = 1; i < MODEL_OUTPUT_SIZE; i++)
            if (scores[i] > scores[best])
                best = i;
        count = best == last && scores[best] >= THRESHOLD ? count + 1 : 1;
        last = best;
        if (count == HOLD && best != said) {
            said = best;
            if (best < KEYWORDS)
                keyword_heard(best);
        }
    }
}
